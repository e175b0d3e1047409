-- Pktgen-DPDK in range mode for natlb: UDP connections of many clients to one VIP on port 0, and, if wanted,
-- their replies on port 1. Opens each connection once, then measures for some seconds and ends Pktgen.
-- README.md beside this file has the order of steps. Parameters are environment variables:
--   MAC0 MAC1            natlb's MACs: of vip0, of dip0 (lbctl status)                        required
--   CLIENTS PORTS        client addresses, source ports of each: without a common divisor     1024, 63
--   SIZE                 bytes of a frame, frame check sequence included                       64
--   RATE                 per cent of the line, for each port that sends                        100
--   DIRECTION            forward: port 0 sends; both: port 1 sends the replies too             both
--   SECONDS              how long is measured                                                  30
--   FIRST_CLIENT VIP VIP_PORT REAL REAL_PORT                                as in lbd.toml
--   OPEN_RATE            per cent of the line while connections are opened                     1
package.path = package.path .. ";?.lua;lua/?.lua;test/?.lua;app/?.lua;"
require "Pktgen"

local function text(name, default)
    local value = os.getenv(name)
    if value == nil or value == "" then value = default end
    if value == nil then error(name .. " is not set: see the head of range.lua", 0) end
    return value
end

local function number(name, default, least, most)
    local value = tonumber(text(name, default))
    if value == nil or value < least or value > most then
        error(string.format("%s: expected %s to %s", name, least, most), 0)
    end
    return value
end

local function as_number(address)
    local a, b, c, d = address:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
    if a == nil then error("expected an IPv4 address, found " .. address, 0) end
    return ((a * 256 + b) * 256 + c) * 256 + d
end

local function as_address(value)
    value = math.floor(value)
    return string.format("%d.%d.%d.%d", value // 16777216 % 256, value // 65536 % 256, value // 256 % 256, value % 256)
end

local function divisor(a, b)
    while b ~= 0 do a, b = b, a % b end
    return a
end

local LEAST_PORT = 1024
local macs = { text("MAC0"), text("MAC1") }
local clients = number("CLIENTS", 1024, 1, 16777216)
local ports = number("PORTS", 63, 1, 65536 - LEAST_PORT)
local size = number("SIZE", 64, 64, 1518)
local rate = number("RATE", 100, 0.01, 100)
local open_rate = number("OPEN_RATE", 1, 0.01, 100)
local seconds = number("SECONDS", 30, 1, 86400)
local direction = text("DIRECTION", "both")
local first = text("FIRST_CLIENT", "16.0.0.1")
local vip, vip_port = text("VIP", "198.18.0.100"), number("VIP_PORT", 80, 1, 65535)
local real, real_port = text("REAL", "48.0.0.1"), number("REAL_PORT", 80, 1, 65535)
if direction ~= "both" and direction ~= "forward" then error("DIRECTION: forward or both", 0) end
-- Pktgen counts address and port up together, packet by packet: all pairs come only if they have no common divisor.
if divisor(clients, ports) ~= 1 then error("CLIENTS and PORTS have a common divisor: not every pair would come", 0) end
local _ = as_number(vip), as_number(real) -- are addresses
local flows = clients * ports
local last = as_address(as_number(first) + clients - 1)

local function address(set, port, from, to)
    set(port, "start", from)
    set(port, "min", from)
    set(port, "max", to)
    set(port, "inc", from == to and "0.0.0.0" or "0.0.0.1")
end

local function count(set, port, from, to)
    set(port, "start", from)
    set(port, "min", from)
    set(port, "max", to)
    set(port, "inc", from == to and 0 or 1)
end

local function range(port, mac)
    pktgen.set(port, "size", size)
    pktgen.set_proto(port, "udp")
    pktgen.range.ip_proto(port, "udp")
    pktgen.range.dst_mac(port, "start", mac)
    count(pktgen.range.pkt_size, port, size, size)
end

pktgen.stop("all")
pktgen.clear("all")

range("0", macs[1])
address(pktgen.range.src_ip, "0", first, last)
count(pktgen.range.src_port, "0", LEAST_PORT, LEAST_PORT + ports - 1)
address(pktgen.range.dst_ip, "0", vip, vip)
count(pktgen.range.dst_port, "0", vip_port, vip_port)

range("1", macs[2])
address(pktgen.range.src_ip, "1", real, real)
count(pktgen.range.src_port, "1", real_port, real_port)
address(pktgen.range.dst_ip, "1", first, last)
count(pktgen.range.dst_port, "1", LEAST_PORT, LEAST_PORT + ports - 1)

pktgen.set_range("0", "on")
pktgen.set_range("1", "on")

-- Each connection once, at a rate that nothing drops at.
pktgen.set("0", "rate", open_rate)
pktgen.set("0", "count", flows)
pktgen.start("0")
local sent = 0
for _ = 1, 600 do
    pktgen.delay(100)
    sent = pktgen.portStats("0", "port")[0].opackets
    if sent >= flows then break end
end
pktgen.stop("0")
print(string.format("opened: %d of %d connections sent; lbctl status has to count as many", sent, flows))

pktgen.set("0", "count", 0)
pktgen.set("1", "count", 0)
pktgen.set("0", "rate", rate)
pktgen.set("1", "rate", rate)
pktgen.clear("all")
pktgen.start("0")
if direction == "both" then pktgen.start("1") end
for second = 1, seconds do
    pktgen.delay(1000)
    local a, b = pktgen.portStats("0", "rate")[0], pktgen.portStats("1", "rate")[1]
    print(string.format("%d s: port 0 tx %d rx %d, port 1 tx %d rx %d packets/s", second, a.pkts_tx, a.pkts_rx,
        b.pkts_tx, b.pkts_rx))
end
pktgen.stop("all")
pktgen.delay(1000) -- what is on the way arrives
local a, b = pktgen.portStats("0", "port")[0], pktgen.portStats("1", "port")[1]
print(string.format("lost: %d of %d from clients, %d of %d from reals", a.opackets - b.ipackets, a.opackets,
    b.opackets - a.ipackets, b.opackets))
pktgen.quit()
