"""The throttle's Lua scripts: each is one step for Redis, and reads no clock but Redis's own.

A bucket is a hash of `count` and `last`, the time of the last attempt, in ms; it ends when all its attempts are
forgotten. Only a counted attempt forgets: what a refusal says about the wait stays true.
"""

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

_TAKE_BACK = """
local function take_back(bucket)
    if redis.call('EXISTS', bucket) == 1 and redis.call('HINCRBY', bucket, 'count', -1) < 1 then
        redis.call('DEL', bucket)
    end
end
"""

ADMIT = f"""{_NOW}
local known, tried, address = KEYS[4], KEYS[5], ARGV[1]
local concerned = tonumber(redis.call('ZSCORE', known, address) or 0) > now and 2 or 3

local longest_wait, by, counts, lives = 0, concerned, {{}}, {{}}
for i = 1, concerned do
    local free, refill, longest = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
    local stored = redis.call('HMGET', KEYS[i], 'count', 'last')
    local count, quiet = tonumber(stored[1] or 0), math.max(0, now - tonumber(stored[2] or 0))
    if count >= free then
        local wait = math.min(longest, 1000 * 2 ^ (count - free)) - quiet
        if wait > longest_wait then longest_wait, by = wait, i end
    end
    counts[i] = math.max(0, count - math.floor(quiet / refill)) + 1
    lives[i] = counts[i] * refill
end
if longest_wait > 0 then return {{longest_wait, by}} end

for i = 1, concerned do
    redis.call('HSET', KEYS[i], 'count', counts[i], 'last', now)
    redis.call('PEXPIRE', KEYS[i], lives[i])
end
redis.call('ZREMRANGEBYSCORE', tried, '-inf', now)
redis.call('ZADD', tried, now + lives[1], address)
redis.call('PEXPIRE', tried, math.max(lives[1], redis.call('PTTL', tried)))
return {{0, concerned}}
"""
"""Counts an attempt in every bucket that concerns it, or in none when one of them makes it wait.

KEYS: the buckets of both, address and account; known, tried. ARGV: the address; free, refill and longest of each.
Returns {milliseconds to wait, number of the bucket that says so}, or {0, how many buckets it was counted in}.
"""

SUCCEED = f"""{_NOW}{_TAKE_BACK}
local both, account, known, tried, address, known_for = KEYS[1], KEYS[3], KEYS[4], KEYS[5], ARGV[1], ARGV[2]
take_back(KEYS[2])
redis.call('DEL', both, account)
redis.call('ZREM', tried, address)
redis.call('ZREMRANGEBYSCORE', known, '-inf', now)
redis.call('ZADD', known, now + known_for, address)
redis.call('PEXPIRE', known, known_for)
"""
"""Starts the account's counts anew, takes the attempt back from the address's, and remembers the address.

KEYS: as above. ARGV: the address, and how long it is known.
"""

REFUND = f"""{_TAKE_BACK}
for _, bucket in ipairs(KEYS) do take_back(bucket) end
"""
"""Takes an attempt back from the buckets in KEYS."""
