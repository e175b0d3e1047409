-- Stands in for Pktgen: records what a script asks for, and "sends" as counted. Run as
--   lua5.4 pktgen_double.lua SCRIPT
-- Each call is printed as one line: CALL name argument...
local opened = { ["0"] = 0, ["1"] = 0 }
local settings = { ["0"] = {}, ["1"] = {} }

local function call(name, ...)
    local words = { "CALL", name }
    for _, argument in ipairs({ ... }) do words[#words + 1] = tostring(argument) end
    print(table.concat(words, " "))
end

local known = { "stop", "clear", "set_proto", "set_range", "quit", "delay" }
pktgen = { range = {} }
for _, name in ipairs(known) do
    pktgen[name] = function(...) call(name, ...) end
end
for _, name in ipairs({ "ip_proto", "dst_mac", "pkt_size", "src_ip", "dst_ip", "src_port", "dst_port" }) do
    pktgen.range[name] = function(...) call("range." .. name, ...) end
end
function pktgen.set(port, what, value)
    settings[port][what] = value
    call("set", port, what, value)
end
function pktgen.start(port)
    opened[port] = settings[port].count
    call("start", port)
end
function pktgen.portStats(port, kind)
    local index = tonumber(port)
    if kind == "rate" then return { [index] = { pkts_tx = 1000, pkts_rx = 900 } } end
    return { [index] = { opackets = opened[port], ipackets = opened[port] } }
end

package.preload["Pktgen"] = function() return true end
dofile(arg[1])
