-- Asks for the targets of a file in turn, and tells at the end what e2e/src/bench/serve/wrk.rs reads.

local requests, turn = {}, 0

init = function(args)
    for target in io.lines(args[1]) do
        requests[#requests + 1] = wrk.format(nil, target)
    end
end

request = function()
    turn = turn % #requests + 1
    return requests[turn]
end

done = function(summary, latency)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    io.write(string.format("told %.0f %.0f %.0f %.0f %.0f\n",
        summary.requests, summary.bytes, summary.duration, latency:percentile(99), failed))
end
