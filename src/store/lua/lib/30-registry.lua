-- The registry of runners in shard 0.

-- `groups` holds for each group name how many registered runners bear it, and nothing for none.
local function count_group(group, by)
  if redis.call('HINCRBY', BASE .. 'groups', group, by) <= 0 then
    redis.call('HDEL', BASE .. 'groups', group)
  end
end

local function read_runner(name)
  local stored = redis.call('HGET', BASE .. 'runners', name)
  return stored and cjson.decode(stored) or nil
end
