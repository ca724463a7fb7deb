-- The load of one run: heartbeat reports, each with a session id of its own, in the body that the gateway takes.
-- Arguments after `--`: the shape of the body (see peers.py), the first id, the time now in ms since the epoch.

-- What the shapes put around a report; where the report stands within a string, its quotes are escaped.
local around = {
  plain = { "", "", '"' },
  otlp = { '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"', '"}}]}]}]}', '\\"' },
  flume = { '[{"headers":{},"body":"', '"}]', '\\"' },
}
local layout, id, now_ms

function init(args)
  local shape = assert(around[args[1]], "no such shape")
  id, now_ms = tonumber(args[2]), args[3]
  local report = '{"session_id":"0190a2b4-77c3-7d11-9e2f-%012d","seq":0,"user_id":"user-%08d","video_id":"title-00042",'
    .. '"event_time":' .. now_ms .. ',"from_ms":0,"position_ms":5000,"played_ms":5000,"territory":"DE","device":"tv"}'
  layout = shape[1] .. report:gsub('"', shape[3]) .. shape[2]
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  id = id + 1
  return wrk.format(nil, nil, nil, string.format(layout, id, id % 100000))
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"answers":%d,"refused":%d,"seconds":%.3f,"p50_ms":%.2f,"p99_ms":%.2f,"broken":%d}\n',
    summary.requests, errors.status, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, errors.connect + errors.read + errors.write + errors.timeout))
end
