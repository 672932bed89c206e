-- Gives a run back unanswered: its claim is dropped and a legacy payload is queued again, first in line.

if redis.call('GET', claim) ~= token then
  return 0
end
redis.call('DEL', claim)
if books then
  requeue(books, payload)
end
return 1
