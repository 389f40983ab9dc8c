#!lua flags=no-writes
-- Which of these commands the user who asks may not send; none of them is carried out.
-- KEYS     none: on a Cluster every node is asked
-- ARGV     for each command: how many words it has, then its words
-- returns  positions (from 1) of those that are refused, or that this server does not know
-- keeps    nothing is written
-- atomic   one look at the user's rules
local refused = {}
local at, position = 1, 1
while at <= #ARGV do
  local count = tonumber(ARGV[at])
  local words = {}
  for index = at + 1, at + count do
    append(words, ARGV[index])
  end
  local is_known, is_allowed = pcall(redis.acl_check_cmd, unpack(words))
  if not is_known or not is_allowed then
    append(refused, position)
  end
  at, position = at + 1 + count, position + 1
end
return refused
