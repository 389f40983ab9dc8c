-- The registry of runners in shard 0.

-- `groups` holds for each group name how many registered runners bear it, and nothing for none; as '@<group>' how many
-- that are being removed: until that is decided the name is nobody else's.
local function count_group(group, by)
  if redis.call('HINCRBY', BASE .. 'groups', group, by) <= 0 then
    redis.call('HDEL', BASE .. 'groups', group)
  end
end

local function read_runner(name)
  local stored = redis.call('HGET', BASE .. 'runners', name)
  return stored and cjson.decode(stored) or nil
end

-- Moves a runner between the members of its groups and those that are being removed.
local function count_removal(groups, is_begun)
  for group in string.gmatch(groups, '%S+') do
    count_group(group, is_begun and -1 or 1)
    count_group('@' .. group, is_begun and 1 or -1)
  end
end
