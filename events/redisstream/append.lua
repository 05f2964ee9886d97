-- KEYS[1] is a stream, ARGV[1] the id at which it must end. ARGV[2] is empty, or the stream is deleted first: then it is
-- how many entries the stream has held before those that follow. Then, for each entry: its id, how many names and values
-- it has, and these.
-- The answer is empty, or the id at which the stream does end; then nothing was changed.
local last = '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = info[i + 1] end
  end
end
if last ~= ARGV[1] then return last end
if ARGV[2] ~= '' then redis.call('DEL', KEYS[1]) end
local added, i = 0, 3
while i <= #ARGV do
  local count = tonumber(ARGV[i + 1])
  local command = {'XADD', KEYS[1], ARGV[i]}
  for j = 1, count do command[3 + j] = ARGV[i + 1 + j] end
  redis.call(unpack(command))
  last, added, i = ARGV[i], added + 1, i + 2 + count
end
if ARGV[2] ~= '' then
  redis.call('XSETID', KEYS[1], last, 'ENTRIESADDED', string.format('%.0f', ARGV[2] + added))
end
return ''
