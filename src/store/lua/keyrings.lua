#!lua flags=allow-oom
-- Says which keyring a supervisor goes by, and answers what the others said of late.
-- KEYS     keyrings
-- ARGV     1 supervisor (a process), 2 digest of its keyring, 3 how long what was said counts, in ms
-- returns  the digests of the others, each once
-- keeps    what is older than that is gone; without supervisors the key is gone as well
-- atomic   two that say different things: the second one sees the first
local keep_ms = tonumber(ARGV[3])
local said = redis.call('HGETALL', KEYS[1])
local others, seen, old = {}, {}, {}
for index = 1, math.min(#said, 200), 2 do
  local at, digest = string.match(said[index + 1], '^(%d+) (%x+)$')
  if not at or tonumber(at) < NOW_MS - keep_ms then
    old[#old + 1] = said[index]
  elseif said[index] ~= ARGV[1] and not seen[digest] then
    seen[digest] = true
    others[#others + 1] = digest
  end
end
if #old > 0 then
  redis.call('HDEL', KEYS[1], unpack(old))
end
redis.call('HSET', KEYS[1], ARGV[1], int(NOW_MS) .. ' ' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], int(keep_ms))
return others
