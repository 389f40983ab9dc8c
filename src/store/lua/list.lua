#!lua flags=no-writes
-- Scans one index (all jobs, or one owner's) from new to old.
-- KEYS     jobs or own:<owner>
-- ARGV     1 cursor ms or '', 2 cursor id, 3 from ms or '', 4 until ms (exclusive) or '', 5 most matches,
--          6 most entries scanned (at most 100), 7 principal or '', 8 state or '', 9 queue or '',
--          10 '=' and context id or '', then the names of the fields wanted, the first four being principal, state,
--          queue, context_id
-- returns  {'1' when the index is exhausted, ms and id of the last entry scanned or '', {id, fields...}...}
-- keeps    nothing is written
-- atomic   heads agree with the index they were found in
local most, scan = tonumber(ARGV[5]), tonumber(ARGV[6])
local names = {}
for index = 11, #ARGV do
  append(names, ARGV[index])
end
local wanted = { ARGV[7], ARGV[8], ARGV[9] }

local function is_wanted(head)
  for index, value in ipairs(wanted) do
    if value ~= '' and head[index] ~= value then
      return false
    end
  end
  return ARGV[10] == '' or (head[4] and '=' .. head[4] == ARGV[10])
end

local newest = ARGV[4] ~= '' and '(' .. ARGV[4] or '+inf'
if ARGV[1] ~= '' and (ARGV[4] == '' or tonumber(ARGV[1]) < tonumber(ARGV[4])) then
  newest = ARGV[1]
end
local oldest = ARGV[3] ~= '' and ARGV[3] or '-inf'
-- Entries of the cursor's own millisecond that the page before has passed.
local passed = 0
if newest == ARGV[1] then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[1], 'BYSCORE', 'REV')) do
    if id < ARGV[2] then
      break
    end
    passed = passed + 1
  end
end

local entries = redis.call('ZRANGE', KEYS[1], newest, oldest, 'BYSCORE', 'REV', 'LIMIT', passed, scan, 'WITHSCORES')
local reply = { #entries < scan * 2 and '1' or '0', '', '' }
local matches = 0
for at = 1, #entries, 2 do
  reply[2], reply[3] = entries[at + 1], entries[at]
  local head = redis.call('HMGET', job_key(entries[at]), unpack(names))
  if head[2] and is_wanted(head) then
    append(reply, append({ entries[at] }, unpack(head)))
    matches = matches + 1
    if matches >= most and at + 2 <= #entries then
      reply[1] = '0'
      break
    end
  end
end
return reply
