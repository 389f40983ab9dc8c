#!lua flags=allow-oom
-- Claims the data for an identity and says what they are.
-- KEYS     meta
-- ARGV     1 identity, 2 shards or '' for what is stored, 3 shards where nothing is stored, 4 random generation,
--          then settings of the supervisors that runners read, as name, value...
-- returns  {identity, shards, generation, epoch} as stored; differing identity or shards: nothing was written
-- keeps    one identity and one shard count for the life of the data; the epoch only rises, so that a Redis restored
--          from an older copy shows
-- atomic   of two supervisors that start on an empty Redis, one is first
local stored = redis.call('HMGET', KEYS[1], 'identity', 'shards', 'generation', 'epoch')
local identity = stored[1] or ARGV[1]
local shards = stored[2] or (ARGV[2] ~= '' and ARGV[2] or ARGV[3])
if identity ~= ARGV[1] or (ARGV[2] ~= '' and shards ~= ARGV[2]) then
  return { identity, shards, stored[3] or '', tonumber(stored[4] or '0') }
end
local fields = { 'identity', identity, 'shards', shards, 'generation', stored[3] or ARGV[4] }
for index = 5, #ARGV do
  append(fields, ARGV[index])
end
redis.call('HSET', KEYS[1], unpack(fields))
return { identity, shards, stored[3] or ARGV[4], redis.call('HINCRBY', KEYS[1], 'epoch', 1) }
