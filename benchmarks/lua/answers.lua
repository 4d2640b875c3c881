-- Count the answers by their body, which is the pid of the worker, and print "answers <body> <count>".
local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(args)
   counts = {}
end

function response(status, headers, body)
   if status == 200 then
      counts[body] = (counts[body] or 0) + 1
   end
end

function done(summary, latency, requests)
   for _, thread in ipairs(threads) do
      for body, count in pairs(thread:get("counts")) do
         print("answers " .. body .. " " .. count)
      end
   end
end
