#!lua flags=allow-oom
-- Copies revoked keys to one shard.
-- KEYS     revoked
-- ARGV     at most 100 keys
-- returns  keys that were new
-- keeps    what is revoked stays revoked: this set only takes rights away
-- atomic   once it answered, no call or admission by these keys passes this shard
return redis.call('SADD', KEYS[1], unpack(ARGV))
