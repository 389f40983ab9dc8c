-- A job record and the writes that several transitions share.
-- Invariants kept here: `leases` holds exactly the running jobs; `expiry`, one of `q`/`delayed` and `bytes` exactly the
-- pending ones; `signer:*` the pending and running ones; `done:<state>` the terminal ones, whose size `bytes` counts
-- as '!<state>', and how many of them ended for a reason of the list below as '~<state>:<reason>'.

local STATE_FIELDS = {
  'state', 'revision', 'attempt', 'token', 'queue', 'score', 'bytes', 'owner', 'signers', 'expires_at', 'cancelling',
  'cancel_reason', 'failures', 'losses', 'max_attempts', 'on_loss', 'digest', 'principal', 'runner', 'settled',
  'attempt_log_count', 'attempt_log_bytes', 'runner_key', 'log_bytes', 'outcome_bytes', 'kept_bytes',
  'reason',
}

-- What the texts of reasons count as, the first that fits: few and fixed, whatever a runner writes (src/jobs/end-reasons.ts).
local END_REASONS = {
  failed = {
    { '^exit code %-?%d+$', 'exit_code' }, { '^killed by ', 'signal' }, { '^lost$', 'lost' }, { '^poison$', 'poison' },
    { '^refused: ', 'refused' }, { '^result too large', 'bad_result' }, { '^the result is not ', 'bad_result' },
    { '^cannot start ', 'not_started' }, { '^executor ', 'not_started' }, { '^unknown executor ', 'not_started' },
    { '^the job names no executor', 'not_started' }, { '^the runner stopped', 'runner_stopped' },
  },
  cancelled = { { '^cancelled', 'asked' }, { '^revoked$', 'revoked' }, { '^runner removed$', 'runner_removed' } },
}

local function job_key(id)
  return BASE .. 'job:' .. id
end

-- Keys of the shard that transitions of any job write; touched once a script.
local SHARED = { 'revoked', 'leases', 'expiry', 'bytes', 'done:completed', 'done:failed', 'done:timeout', 'done:cancelled', 'done:expired' }
local is_shared_touched = false

local function touch_job(job, is_forgetting)
  local keys = { job_key(job.id), BASE .. 'q:' .. job.queue, BASE .. 'delayed:' .. job.queue }
  for signer in string.gmatch(job.signers, '%S+') do
    append(keys, BASE .. 'signer:' .. signer)
  end
  if is_forgetting then
    append(keys, BASE .. 'jobs', BASE .. 'own:' .. job.owner, BASE .. 'log:' .. job.id, BASE .. 'tomb:' .. job.id)
  end
  if not is_shared_touched then
    is_shared_touched = true
    for _, name in ipairs(SHARED) do
      append(keys, BASE .. name)
    end
  end
  touch(keys)
end

-- The record's state fields by name, or nil. Every key that a transition of it writes is touched before.
local function read_job(id, is_forgetting)
  local values = redis.call('HMGET', job_key(id), unpack(STATE_FIELDS))
  if not values[1] then
    -- Two keys: during a slot's move a record that is elsewhere raises an error here instead of looking gone.
    touch({ job_key(id), BASE .. 'leases' })
    return nil
  end
  local job = { id = id }
  for index, name in ipairs(STATE_FIELDS) do
    job[name] = values[index] or nil
  end
  touch_job(job, is_forgetting)
  return job
end

-- Has this key lost its rights? A record of a runner that claimed before keys were noted has none.
local function is_revoked(key)
  return key and redis.call('SISMEMBER', BASE .. 'revoked', key) == 1
end

-- Does this call come from the attempt that holds the lease, of a runner that still has its rights?
local function is_held(job, attempt, token)
  return job.state == 'running' and job.attempt == attempt and job.token == token
    and not is_revoked(job.runner_key)
end

local function has_revoked_signer(job)
  for signer in string.gmatch(job.signers, '%S+') do
    if is_revoked(signer) then
      return true
    end
  end
  return false
end

-- `expires_at` bounds the start of every attempt; its last second still counts.
local function is_expired(job)
  return NOW > tonumber(job.expires_at)
end

local function publish_change(id)
  redis.call('PUBLISH', PREFIX .. 'events', id)
end

local function add_bytes(field, by)
  if redis.call('HINCRBY', BASE .. 'bytes', field, int(by)) <= 0 then
    redis.call('HDEL', BASE .. 'bytes', field)
  end
end

-- Counts an ended job by its reason; one that fits nothing of the list is not counted, and so is what the rest is.
local function count_reason(state, reason, sign)
  for _, entry in ipairs(END_REASONS[state] or {}) do
    if reason and string.find(reason, entry[1]) then
      return add_bytes('~' .. state .. ':' .. entry[2], sign)
    end
  end
end

-- What waits, by queue in bytes and by owner in jobs ('@<owner>') and bytes ('#<owner>'); nothing where nothing waits.
local function count_waiting(job, sign)
  add_bytes(job.queue, sign * tonumber(job.bytes))
  add_bytes('@' .. job.owner, sign)
  add_bytes('#' .. job.owner, sign * tonumber(job.bytes))
end

-- Takes a pending job out of everything that knows it as pending.
local function leave_pending(job)
  redis.call('ZREM', BASE .. 'q:' .. job.queue, job.id)
  redis.call('ZREM', BASE .. 'delayed:' .. job.queue, job.id)
  redis.call('ZREM', BASE .. 'expiry', job.id)
  count_waiting(job, -1)
end

-- Puts an id where pending jobs wait: in its queue at its kept score, or until ready_ms among the delayed.
local function wait_in_queue(job, ready_ms)
  if ready_ms and ready_ms > NOW_MS then
    redis.call('ZADD', BASE .. 'delayed:' .. job.queue, int(ready_ms), job.id)
  else
    redis.call('ZADD', BASE .. 'q:' .. job.queue, job.score, job.id)
    redis.call('PUBLISH', PREFIX .. 'hint:' .. job.queue, '')
  end
  redis.call('ZADD', BASE .. 'expiry', int(tonumber(job.expires_at) * 1000), job.id)
  count_waiting(job, 1)
end

-- running -> pending: the attempt is over, its number stays, its place in the order stays.
local function return_to_pending(job, ready_ms, fields)
  redis.call('ZREM', BASE .. 'leases', job.id)
  redis.call('HDEL', job_key(job.id), 'token', 'ready_ms')
  if ready_ms and ready_ms > NOW_MS then
    append(fields, 'ready_ms', int(ready_ms))
  end
  append(fields, 'state', 'pending', 'revision', int(tonumber(job.revision) + 1))
  redis.call('HSET', job_key(job.id), unpack(fields))
  wait_in_queue(job, ready_ms)
  publish_change(job.id)
end

-- pending or running -> a terminal state, which never changes again. From here on the job's size is that of what was
-- admitted, its log, and the outcome of its last attempt: it is noted, so that what is taken off later is what was added.
local function end_job(job, state, fields)
  local kept = tonumber(job.bytes) + tonumber(job.log_bytes) + tonumber(job.outcome_bytes or '0')
  if job.state == 'pending' then
    leave_pending(job)
  else
    redis.call('ZREM', BASE .. 'leases', job.id)
  end
  for signer in string.gmatch(job.signers, '%S+') do
    redis.call('SREM', BASE .. 'signer:' .. signer, job.id)
  end
  redis.call('ZADD', BASE .. 'done:' .. state, int(NOW_MS), job.id)
  add_bytes('!' .. state, kept)
  for at = 1, #fields, 2 do
    if fields[at] == 'reason' then
      count_reason(state, fields[at + 1], 1)
    end
  end
  redis.call('HDEL', job_key(job.id), 'token', 'ready_ms', 'cancelling', 'cancel_reason')
  append(fields, 'kept_bytes', int(kept), 'state', state, 'finished_ms', int(NOW_MS), 'revision', int(tonumber(job.revision) + 1))
  redis.call('HSET', job_key(job.id), unpack(fields))
  publish_change(job.id)
end

-- Removes every key of a terminal or pending job; a tombstone stays until nothing of it could be admitted again.
local function forget(job)
  if job.state == 'pending' then
    leave_pending(job)
  end
  for signer in string.gmatch(job.signers, '%S+') do
    redis.call('SREM', BASE .. 'signer:' .. signer, job.id)
  end
  if redis.call('ZREM', BASE .. 'done:' .. job.state, job.id) == 1 then
    add_bytes('!' .. job.state, -tonumber(job.kept_bytes or '0'))
    count_reason(job.state, job.reason, -1)
  end
  redis.call('ZREM', BASE .. 'jobs', job.id)
  redis.call('ZREM', BASE .. 'own:' .. job.owner, job.id)
  redis.call('UNLINK', BASE .. 'log:' .. job.id)
  redis.call('DEL', job_key(job.id))
  local life_ms = (tonumber(job.expires_at) + 60) * 1000 - NOW_MS
  if life_ms > 0 then
    local tomb = BASE .. 'tomb:' .. job.id
    redis.call('HSET', tomb, 'digest', job.digest, 'principal', job.principal)
    -- Relative, never PEXPIREAT: a time in the past would delete at once and say OK.
    redis.call('PEXPIRE', tomb, int(life_ms))
  end
  publish_change(job.id)
end
