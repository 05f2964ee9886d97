-- KEYS[1] is a stream. ARGV[1] is the id at which it must end; ARGV[2] that of its last entry, where it has any; ARGV[3] how
-- many entries it must have, empty for any number. ARGV[4] is empty, or the stream is deleted first: then it is how many
-- entries the stream has held before those that follow. ARGV[5] is empty, or the id at which the stream is to end, which may
-- lie beyond its last entry. Then, for each entry: its id, how many names and values it has, and these.
-- The answer is empty, or the id at which the stream does end; then nothing was changed.
local last, newest, length = '0-0', '', '0'
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = info[i + 1] end
    if info[i] == 'last-entry' and info[i + 1] then newest = info[i + 1][1] end
    if info[i] == 'length' then length = tostring(info[i + 1]) end
  end
end
if last ~= ARGV[1] or newest ~= '' and newest ~= ARGV[2] or ARGV[3] ~= '' and length ~= ARGV[3] then return last end
if ARGV[4] ~= '' then
  redis.call('DEL', KEYS[1])
elseif ARGV[5] ~= '' then
  redis.call('XSETID', KEYS[1], ARGV[2])
end
local added, i = 0, 6
while i <= #ARGV do
  local count = tonumber(ARGV[i + 1])
  local command = {'XADD', KEYS[1], ARGV[i]}
  for j = 1, count do command[3 + j] = ARGV[i + 1 + j] end
  redis.call(unpack(command))
  last, added, i = ARGV[i], added + 1, i + 2 + count
end
if ARGV[5] ~= '' then last = ARGV[5] end
if ARGV[4] ~= '' then
  redis.call('XSETID', KEYS[1], last, 'ENTRIESADDED', string.format('%.0f', ARGV[4] + added))
elseif ARGV[5] ~= '' then
  redis.call('XSETID', KEYS[1], last)
end
return ''
