// A clock that rings by itself: whole machines in virtual time. Timers of a Runtime that has one ask it and not the loop.
#pragma once

#include <kubeedge/clock.h>
#include <kubeedge/unique_function.h>

namespace kubeedge::runtime {

class RingingClock : public Clock {
 public:
  // Calls `ring` once, when steady() has reached `at`. What is not wanted any more finds that out itself.
  virtual void ring_at(Milliseconds at, unique_function<void()> ring) const = 0;
};

}  // namespace kubeedge::runtime
