-- GET <prefix><n><suffix> for n from 0 to below <count>, in turn: paths.lua <prefix> <count> <suffix>.
local prefix, count, suffix
local n = 0

function init(args)
   prefix, count, suffix = args[1], tonumber(args[2]), args[3]
end

function request()
   n = (n + 1) % count
   return wrk.format(nil, prefix .. n .. suffix)
end
