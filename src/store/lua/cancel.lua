#!lua flags=allow-oom
-- Cancels a pending job at once, or asks the runner of a running one to stop.
-- KEYS     job:<id>, leases
-- ARGV     1 id, 2 principal or '' for everybody, 3 reason, 4 '1' to leave running jobs alone
-- returns  {'cancelled'} | {'cancelling'} | {'missing'} | {'wrong_state', state}
-- keeps    `cancelling` is durable: such a job ends cancelled unless a finish came first, and is never retried
-- atomic   a claim or finish falls before or after, never into it
local job = read_job(ARGV[1])
if not job or (ARGV[2] ~= '' and job.principal ~= ARGV[2]) then
  return { 'missing' }
end
if job.state == 'pending' then
  end_job(job, 'cancelled', { 'reason', ARGV[3] })
  return { 'cancelled' }
end
if job.state == 'cancelled' then
  return { 'cancelled' }
end
if job.state ~= 'running' or ARGV[4] == '1' then
  return { 'wrong_state', job.state }
end
if not job.cancelling then
  redis.call('HSET', KEYS[1], 'cancelling', '1', 'cancel_reason', ARGV[3], 'revision', int(tonumber(job.revision) + 1))
  publish_change(job.id)
end
-- Also when it was asked before: the hint may have been lost.
redis.call('PUBLISH', PREFIX .. 'cancel:' .. job.runner, job.id)
return { 'cancelling' }
