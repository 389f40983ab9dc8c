#!lua flags=allow-oom
-- Judges the window of a signed call and uses up its nonce.
-- KEYS     nonce:<key>:<nonce>, revoked, reap
-- ARGV     1 key, 2 iat, 3 exp
-- returns  {'fresh'} | {'replay'} | {'revoked'} | {'stale', now}
-- keeps    a nonce is good once for 700 s, longer than any call can be valid
-- atomic   two supervisors that see the same call: one is first
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then
  return { 'revoked' }
end
local iat, exp = tonumber(ARGV[2]), tonumber(ARGV[3])
if iat > NOW + 30 or NOW > exp + 30 or was_over(KEYS[3], iat, exp + 30) then
  return { 'stale', NOW }
end
-- PX, never PXAT: with a time in Redis' past SET answers OK every time.
if redis.call('SET', KEYS[1], '1', 'NX', 'PX', 700000) then
  return { 'fresh' }
end
return { 'replay' }
