#!lua flags=allow-oom
-- Gives a job back unstarted or drained: neither lost nor failed.
-- KEYS     job:<id>, leases
-- ARGV     1 id, 2 attempt, 3 token
-- returns  'released' | 'lost'
-- keeps    the attempt number stays used; a job that is being cancelled ends instead
-- atomic   the lease ends and the job waits again in one step; the same call again gives the same answer
local job = read_job(ARGV[1])
if not job then
  return 'lost'
end
local mark = ARGV[2] .. ' ' .. ARGV[3] .. ' release'
if not is_held(job, ARGV[2], ARGV[3]) then
  return job.settled == mark and 'released' or 'lost'
end
if job.cancelling then
  end_job(job, 'cancelled', { 'settled', mark, 'reason', job.cancel_reason or 'cancelled' })
else
  return_to_pending(job, nil, { 'settled', mark })
end
return 'released'
