-- Which commands this user may not run. Touches nothing.
-- ARGV[1] JSON: the commands, each with arguments
-- Returns the indexes, from 0, of those that are refused; none where Redis (before 7) cannot tell.
local refused = {}
if not redis.acl_check_cmd then
  return refused
end
for at, command in ipairs(cjson.decode(ARGV[1])) do
  local known, allowed = pcall(redis.acl_check_cmd, unpack(command))
  if known and not allowed then
    refused[#refused + 1] = at - 1
  end
end
return refused
