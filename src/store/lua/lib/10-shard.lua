-- Time, key names and conversions of one shard; stands before every script.
-- All keys of a script carry one hash tag, so they may be made from the tag of KEYS[1].

local TIME = redis.call('TIME')
local NOW = tonumber(TIME[1])
local NOW_MS = NOW * 1000 + math.floor(tonumber(TIME[2]) / 1000)

-- 'horus:{s3}:' and 'horus:'; nil where the script's key has no shard (meta), or it has no key.
local BASE = string.match(KEYS[1] or '', '^[^{]*{s%d+}:')
local PREFIX = BASE and string.match(BASE, '^[^{]*')

-- Lua prints numbers with 14 digits; scores have 16. Adding nothing turns -0, which Redis takes for no number, into 0.
local function int(number)
  return string.format('%.0f', number + 0)
end

-- Fails before anything is written when one of the keys lives on another node while its slot moves:
-- there a single missing key would look empty, several at once raise TRYAGAIN.
local function touch(keys)
  return redis.call('EXISTS', unpack(keys))
end

local function append(list, ...)
  for _, value in ipairs({ ... }) do
    list[#list + 1] = value
  end
  return list
end

-- Was it over by a clock that was put back since (seconds; `reap` notes each time as '<at>:<from>')? Then what was remembered
-- of it, to refuse it a second time, may be gone already.
local function was_over(reap, made_at, ends_at)
  for at, from in string.gmatch(redis.call('HGET', reap, 'put_back') or '', '(%d+):(%d+)') do
    if made_at < tonumber(at) and ends_at < tonumber(from) then
      return true
    end
  end
  return false
end
