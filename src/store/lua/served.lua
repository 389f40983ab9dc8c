#!lua flags=no-writes
-- Is a live runner there for a name?
-- KEYS     live:<name>
-- ARGV     1 lease in ms
-- returns  '1' | '0'
-- keeps    nothing is written
-- atomic   one read
local newest = redis.call('ZRANGE', KEYS[1], 0, 0, 'REV', 'WITHSCORES')
return newest[2] and tonumber(newest[2]) > NOW_MS - tonumber(ARGV[1]) and '1' or '0'
