-- What both legs' withdrawals share.

local function set_of(ids)
  local wanted = {}
  for _, id in ipairs(ids) do wanted[id] = true end
  return wanted
end

-- Takes out of `list` the messages in which `pattern` captures one of the ids in `wanted`; returns them.
-- One pass: what goes is overwritten where it lies, then removed together.
local function take_out(list, pattern, wanted)
  local grave, found = '\0withdrawn', {}
  for start = 0, redis.call('LLEN', list) - 1, 64 do
    for offset, message in ipairs(redis.call('LRANGE', list, start, start + 63)) do
      local id = message:match(pattern)
      if id and wanted[id] then
        redis.call('LSET', list, start + offset - 1, grave)
        found[#found + 1] = message
      end
    end
  end
  if #found > 0 then redis.call('LREM', list, 0, grave) end
  return found
end
