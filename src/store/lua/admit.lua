#!lua
-- Admits a job, or says why not.
-- KEYS     job, tomb, revoked, names, q:<queue>, delayed:<queue>, expiry, bytes, seq, jobs, own:<owner>,
--          fair:<queue>, reap, signer:<key>...
-- ARGV     1 id, 2 digest, 3 queue, 4 created_at, 5 expires_at, 6 not_before or '', 7 priority,
--          8 most jobs, 9 most bytes, 10 longest lifetime in seconds, 11 '1' when the answer waits for replicas,
--          12 document, 13 signatures, 14 ticket, 15 principal, 16 owner, 17 caller_id, 18 max_attempts, 19 on_loss,
--          20 timeout, 21 signers with blanks between, 22 '1' when the queue is fair, 23 and 24 most jobs and bytes that
--          wait of one principal, then a signer for each signer:<key>, then context_id where there is one
-- returns  {'new', state} | {'duplicate', state or 'deleted'} | {'conflict'} | {'revoked'} | {'unknown_runner'}
--          | {'stale', now} | {'queue_full', limit, present}
-- keeps    an id is admitted once; a record stands in its queue, the indexes and `bytes`, or nowhere
-- atomic   replay guard and record are one write: nobody can admit the same id between look and store
local id, digest, queue = ARGV[1], ARGV[2], ARGV[3]
local created_at, expires_at, not_before = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local last_signer = 24 + #KEYS - 13

for index = 25, last_signer do
  if redis.call('SISMEMBER', KEYS[3], ARGV[index]) == 1 then
    return { 'revoked' }
  end
end

if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then
  local known = redis.call('HMGET', KEYS[1], 'digest', 'state')
  if (known[1] or redis.call('HGET', KEYS[2], 'digest')) ~= digest then
    return { 'conflict' }
  end
  if known[1] and ARGV[11] == '1' then
    -- WAIT counts from this connection's last write: without one a duplicate could be acknowledged unreplicated.
    redis.call('HSET', KEYS[1], 'digest', digest)
  end
  return { 'duplicate', known[2] or 'deleted' }
end

-- '@<runner>' fields of `names` are no names.
if not string.find(queue, '^[a-z0-9]') or redis.call('HEXISTS', KEYS[4], queue) == 0 then
  return { 'unknown_runner' }
end
if created_at > NOW + 30 or NOW > expires_at or created_at > expires_at or expires_at - created_at > tonumber(ARGV[10])
  or was_over(KEYS[13], created_at, expires_at) then
  return { 'stale', NOW }
end

-- What never changes of the record: arguments 2, 3, 5, 7 and from 12 on, less flags and the signers one by one.
local context_id = ARGV[last_signer + 1]
local bytes = #digest + #queue + #ARGV[5] + #ARGV[7] + #(context_id or '')
for index = 12, 21 do
  bytes = bytes + #ARGV[index]
end
local waiting = redis.call('ZCARD', KEYS[5]) + redis.call('ZCARD', KEYS[6])
if waiting >= tonumber(ARGV[8]) then
  return { 'queue_full', 'max_queue_jobs', waiting }
end
-- What waits: of the queue in bytes, of the principal in jobs and bytes.
local own_jobs_field, own_bytes_field = '@' .. ARGV[16], '#' .. ARGV[16]
local present = redis.call('HMGET', KEYS[8], queue, own_jobs_field, own_bytes_field)
local queue_bytes, own_jobs, own_bytes = tonumber(present[1] or '0'), tonumber(present[2] or '0'), tonumber(present[3] or '0')
if queue_bytes + bytes > tonumber(ARGV[9]) then
  return { 'queue_full', 'max_queue_bytes', queue_bytes }
end
if own_jobs >= tonumber(ARGV[23]) then
  return { 'queue_full', 'max_principal_jobs', own_jobs }
end
if own_bytes + bytes > tonumber(ARGV[24]) then
  return { 'queue_full', 'max_principal_bytes', own_bytes }
end

local now_ms = int(NOW_MS)
local band = (9 - tonumber(ARGV[7])) * 281474976710656
local sequence = redis.call('INCR', KEYS[9])
-- Start-time fair queueing: a caller's next job stands behind its last one, but not behind what others sent meanwhile.
-- What is first in the queue tells how far it was served; a tag is never later than the place of arrival would be.
if ARGV[22] == '1' then
  if waiting == 0 then
    redis.call('DEL', KEYS[12])
  end
  local field = ARGV[7] .. ' ' .. ARGV[16]
  local first = redis.call('ZRANGE', KEYS[5], int(band), '(' .. int(band + 281474976710656), 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
  local served = first[2] and tonumber(first[2]) - band or sequence
  -- What comes back to the queue, or was put off, does not turn the clock back for the others.
  local clock = 'v ' .. ARGV[7]
  served = math.min(sequence, math.max(served, tonumber(redis.call('HGET', KEYS[12], clock) or '0')))
  redis.call('HSET', KEYS[12], clock, int(served))
  local after = tonumber(redis.call('HGET', KEYS[12], field) or '0')
  sequence = math.min(sequence, math.max(served, after))
  redis.call('HSET', KEYS[12], field, int(sequence + 1))
  -- No longer of use once the last job that may wait here has expired.
  local life_ms = (expires_at - NOW) * 1000 + 1000
  if redis.call('PTTL', KEYS[12]) < life_ms then
    redis.call('PEXPIRE', KEYS[12], int(life_ms))
  end
end
local score = int(band + sequence)
local ready_ms = not_before and not_before * 1000 > NOW_MS and not_before * 1000 or nil
redis.call('HSET', KEYS[1], 'document', ARGV[12], 'signatures', ARGV[13], 'ticket', ARGV[14], 'digest', digest,
  'principal', ARGV[15], 'owner', ARGV[16], 'caller_id', ARGV[17], 'signers', ARGV[21], 'queue', queue,
  'priority', ARGV[7], 'expires_at', ARGV[5], 'max_attempts', ARGV[18], 'on_loss', ARGV[19], 'timeout', ARGV[20],
  'state', 'pending', 'revision', '1', 'attempt', '0', 'failures', '0', 'losses', '0', 'score', score,
  'bytes', int(bytes), 'admitted_ms', now_ms, 'log_count', '0', 'log_bytes', '0')
if context_id then
  redis.call('HSET', KEYS[1], 'context_id', context_id)
end
if ready_ms then
  redis.call('HSET', KEYS[1], 'ready_ms', int(ready_ms))
end
redis.call('ZADD', KEYS[10], now_ms, id)
redis.call('ZADD', KEYS[11], now_ms, id)
for index = 14, #KEYS do
  redis.call('SADD', KEYS[index], id)
end
-- As wait_in_queue does it, with what is known already: one write for the three totals.
if ready_ms then
  redis.call('ZADD', KEYS[6], int(ready_ms), id)
else
  redis.call('ZADD', KEYS[5], score, id)
  redis.call('PUBLISH', PREFIX .. 'hint:' .. queue, '')
end
redis.call('ZADD', KEYS[7], int(expires_at * 1000), id)
redis.call('HSET', KEYS[8], queue, int(queue_bytes + bytes), own_jobs_field, int(own_jobs + 1), own_bytes_field,
  int(own_bytes + bytes))
return { 'new', 'pending' }
