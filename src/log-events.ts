/** THE table of log events: what the member `event` of a line can be, and what it means. src/README.md shows it. */

/** The supervisor's own. */
const OF_SUPERVISOR = {
  started: "It serves; where, and by which identity",
  stopping: "Takes nothing new and answers what it took",
  stopped: "Let go of everything",
  secret_in_argv: "A password stands in a flag, where `ps` shows it",
  audit: "A decision about who may do what: the audit trail (SECURITY.md)",
  call_failed: "A handler failed; the caller was told -32603 with this `request_id`",
  dispatch_failed: "A message was not dispatched at all; the same",
  subscription_failed: "A follower is told nothing more",
  keyring_loaded: "`keys.toml` was read and is in force",
  keyring_refused: "`keys.toml` has a fault; the last good one stays in force",
  keyring_watch_failed: "Changes of `keys.toml` are seen some seconds later, or on SIGHUP",
  keyring_check_failed: "The keyrings of the supervisors could not be compared",
  keyring_not_settled: "The same, while removals are carried out; compared again",
  keyrings_differ: "Another supervisor on this Redis goes by another keyring",
  keys_missing: "Keys went missing while no supervisor ran",
  key_is_revoked: "`keys.toml` enrols a key that was revoked, which is for ever",
  key_revoked: "A revocation was carried out; how many jobs it cancelled",
  revoke_failed: "A revocation holds here and could not be published; tried again",
  approvals_widened: "A requirement counts for another name too, through a runner of both",
  approvals_not_looked_at: "Which names share a runner was not looked up; tried again",
  maintained: "Jobs were reaped, expired or retired; how many",
  maintenance_failed: "Maintenance waits for the store",
  redis_warning: "Something about Redis' settings, and the fix",
  redis_lost: "Redis is not reached any more; what needs it is refused",
  redis_back: "It is reached again",
  redis_check_failed: "The regular look at Redis failed",
  redis_data_lost: "Redis has older data than it acknowledged",
  http_listening: "HTTP serves, and where",
  http_without_tls: "It serves beyond loopback without TLS; the fix",
  http_error: "The server itself failed",
  http_failed: "A request got no answer",
  websocket_listening: "WebSocket serves, and where",
  websocket_error: "A connection broke the protocol",
  websocket_failed: "A message got no answer",
  mycelium_up: "The daemon answers; where peers reach this node",
  mycelium_down: "The daemon is not usable; tried on",
  mycelium_daemon: "The daemon is slow, or shared",
  mycelium_note: "A note of a message in flight could not be written or read",
  mycelium_poison: "A message that killed the process twice was dropped",
  mycelium_dropped: "A message was dropped; why",
  mycelium_refused: "A call was refused: too many wait",
  mycelium_handler: "A message got no answer",
  mycelium_reply: "A reply was dropped, or is sent again",
  mycelium_unanswered: "A reply was dropped: its allowance was used up",
} as const;

/** Those of a runner. */
const OF_RUNNER = {
  runner_started: "It takes jobs",
  runner_draining: "It takes nothing new; why, and until when what runs may go on",
  removed: "It lost its name, and drains",
  not_registered_now: "The supervisor is away; it goes on with the enrolment there is",
  name_taken: "A process of this name was there a moment ago; it waits",
  detach_failed: "It left without saying so",
  source_up: "The source of jobs answers again",
  source_down: "The source of jobs does not answer",
  heartbeat_failed: "No heartbeat was stored",
  attempt_started: "A job runs",
  attempt_ended: "An attempt came to its end: finished, lost, released or unfit",
  attempt_broke: "A fault of the runner's own; the job is given back, or reaped once begun",
  job_refused: "Its own verification refused a job; why",
  job_declined: "A job is not for it to judge, and is given back",
  renew_failed: "Leases could not be renewed",
  loop_blocked: "The event loop was busy for so long; its thread held the leases meanwhile",
  stand_in_broke: "That thread is gone; a busy event loop may lose leases",
  release_failed: "A job is not given back yet",
  append_failed: "A log is not stored yet",
  finish_failed: "An outcome is not stored yet",
  log_incomplete: "A job ends without the last lines of its log, and its reason says so",
  seen_failed: "A finished job is not noted on disk",
  no_pipes: "Output goes another way than named pipes",
  scratch_cleared: "What a killed runner left was cleared away",
  scratch_left: "A directory could not be removed",
  listener_broke: "A listener to the runner's events threw",
} as const;

/** Those of both. */
const OF_BOTH = {
  redis_connection: "A connection to Redis failed",
  redis_subscriber: "The subscription to hints failed; polls stand behind it",
} as const;

export const LOG_EVENTS = { supervisor: OF_SUPERVISOR, runner: OF_RUNNER, both: OF_BOTH } as const;

/** Fixed names: whoever searches, alerts or counts goes by them. */
export type LogEvent = keyof typeof OF_SUPERVISOR | keyof typeof OF_RUNNER | keyof typeof OF_BOTH;
