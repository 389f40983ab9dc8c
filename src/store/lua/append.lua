#!lua
-- Stores log entries of the attempt that holds the lease.
-- KEYS     job:<id>, log:<id>
-- ARGV     1 id, 2 attempt, 3 token, 4 seq of the first entry, 5 cap in bytes for one attempt,
--          6 bytes of this call's entries and of those that follow in the same batch, then at most 100 entries as text
-- returns  'appended' (stored, now or before) | 'lost' | 'full' (nothing stored) | 'gap' (entries before are missing)
-- keeps    the entries of an attempt follow one another from 1; what is stored never changes
-- atomic   count, bytes and list agree, and a stale attempt writes nothing
local first = tonumber(ARGV[4])
if #ARGV > 106 then
  return redis.error_reply('ERR at most 100 entries')
end
local held = redis.call('HMGET', KEYS[1], 'state', 'attempt', 'token', 'attempt_log_count', 'attempt_log_bytes',
  'runner_key')
if held[1] ~= 'running' or held[2] ~= ARGV[2] or held[3] ~= ARGV[3] or is_revoked(held[6]) then
  return 'lost'
end
local count, bytes = tonumber(held[4]), tonumber(held[5])
if first > count + 1 then
  return 'gap'
end
local fresh, fresh_bytes = {}, 0
for index = 7 + count + 1 - first, #ARGV do
  append(fresh, ARGV[index])
  fresh_bytes = fresh_bytes + #ARGV[index]
end
if #fresh == 0 then
  return 'appended'
end
-- A batch of several calls is stored whole or not at all: its first call is charged with all of it.
local skipped_bytes = 0
for index = 7, 7 + count - first do
  skipped_bytes = skipped_bytes + #ARGV[index]
end
if bytes + tonumber(ARGV[6]) - skipped_bytes > tonumber(ARGV[5]) then
  return 'full'
end
touch({ KEYS[1], KEYS[2] })
redis.call('RPUSH', KEYS[2], unpack(fresh))
redis.call('HINCRBY', KEYS[1], 'log_count', #fresh)
redis.call('HINCRBY', KEYS[1], 'log_bytes', fresh_bytes)
redis.call('HSET', KEYS[1], 'attempt_log_count', int(count + #fresh), 'attempt_log_bytes', int(bytes + fresh_bytes))
publish_change(ARGV[1])
return 'appended'
