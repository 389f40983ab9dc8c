#!lua flags=no-writes
-- Is a live runner there for a name?
-- KEYS     live:<name>
-- ARGV     1 lease in ms
-- returns  '1' | '0'
-- keeps    nothing is written
-- atomic   one read
-- A heartbeat more than a lease ahead is from before the clock was put back: whoever lives has sent another since.
local lease_ms = tonumber(ARGV[1])
local from, to = '(' .. int(NOW_MS - lease_ms), int(NOW_MS + lease_ms)
return #redis.call('ZRANGE', KEYS[1], from, to, 'BYSCORE', 'LIMIT', 0, 1) > 0 and '1' or '0'
