-- Posts one body again and again, and says in one line of JSON how that went. Latencies are in seconds.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("BENCH_API_KEY")
wrk.body = os.getenv("BENCH_BODY")

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init()
   -- Of the whole script: nothing else of a thread can be asked for at the end.
   taken, refused = 0, 0
end

function response(status)
   if status == 202 or status == 200 then
      taken = taken + 1
   else
      refused = refused + 1
   end
end

function done(summary, latency)
   local all, bad = 0, 0
   for _, thread in ipairs(threads) do
      all, bad = all + thread:get("taken"), bad + thread:get("refused")
   end
   local errors = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
   io.write(string.format(
      '\n{"taken": %d, "refused": %d, "errors": %d, "seconds": %f, "p50": %f, "p95": %f, "p99": %f}\n',
      all, bad, errors, summary.duration / 1e6,
      latency:percentile(50) / 1e6, latency:percentile(95) / 1e6, latency:percentile(99) / 1e6
   ))
end
