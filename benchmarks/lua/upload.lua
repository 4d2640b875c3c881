-- POST a body of so many bytes: upload.lua <bytes> [<bytes of a chunk>]; with the second, in chunks of that size.
local chunked

function init(args)
   local size, piece = tonumber(args[1]), tonumber(args[2])
   if piece then
      local chunk = string.format("%x\r\n%s\r\n", piece, string.rep("x", piece))
      local head = wrk.format("POST", nil, {["Host"] = wrk.headers["Host"], ["Transfer-Encoding"] = "chunked"})
      chunked = head .. string.rep(chunk, size / piece) .. "0\r\n\r\n"
      request = function() return chunked end
   else
      wrk.method = "POST"
      wrk.body = string.rep("x", size)
   end
end
