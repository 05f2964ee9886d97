-- KEYS[1] is a stream, ARGV[1] the id of an entry that it had, 0-0 for none. Then names and values of an entry that takes its
-- place where the stream has nothing of that id or a greater one: what was deleted behind its last entry is forgotten then, as a
-- part of what is lost. Afterwards nothing can be added at or below the id, and the stream counts at least one entry that it does
-- not hold.
local last, newest, deleted, length, added = '0-0', '0-0', '0-0', 0, 0
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = info[i + 1] end
    if info[i] == 'last-entry' and info[i + 1] then newest = info[i + 1][1] end
    if info[i] == 'max-deleted-entry-id' then deleted = info[i + 1] end
    if info[i] == 'length' then length = info[i + 1] end
    if info[i] == 'entries-added' then added = info[i + 1] end
  end
end
-- gives false where Redis refuses an id, as less than another one
local function ends(id, ...) return not redis.pcall('XSETID', KEYS[1], id, ...).err end
local function count(n) return 'ENTRIESADDED', string.format('%.0f', n) end
if ARGV[1] ~= '0-0' and #redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', 1) == 0 then
  if length == 0 then
    redis.call('DEL', KEYS[1])
  else
    assert(ends(newest, 'MAXDELETEDID', deleted) or ends(newest, 'MAXDELETEDID', '0-1'))
  end
  redis.call('XADD', KEYS[1], ARGV[1], unpack(ARGV, 2))
  added = math.max(added, length + 1) + 1
  assert(ends(last, count(added)) or ends(ARGV[1], count(added)))
elseif length > 0 and added == length then
  assert(ends(last, count(added + 1)))
end
