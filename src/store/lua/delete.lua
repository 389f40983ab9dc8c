#!lua flags=allow-oom
-- Deletes a job with every key of it but the tombstone.
-- KEYS     job:<id>, tomb:<id>
-- ARGV     1 id, 2 principal or '' for everybody
-- returns  {'deleted'} | {'missing'} | {'wrong_state', state}
-- keeps    what was admitted can not be admitted again while its signature is good
-- atomic   the tombstone stands in the same step in which the record goes
local job = read_job(ARGV[1], true)
-- Whether or not the job is there: missing and not yours are the same work.
local principal = redis.call('HGET', KEYS[2], 'principal')
if not job then
  if principal and (ARGV[2] == '' or principal == ARGV[2]) then
    return { 'deleted' }
  end
  return { 'missing' }
end
if ARGV[2] ~= '' and job.principal ~= ARGV[2] then
  return { 'missing' }
end
if job.state == 'running' then
  return { 'wrong_state', job.state }
end
forget(job)
return { 'deleted' }
