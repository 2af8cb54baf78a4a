// Sixty frames a second, whatever the screen does.
// Owns: when a frame is due. Must not: read a clock itself (the time is given), or draw.
//
// Frame n is due at the start plus n / 60 s: rounding does not add up, so there is no drift. Half a frame of slack
// keeps a 60 Hz screen from showing now none, now two. A tab that slept, or a machine that is too slow, loses the time
// instead of running after it: what is behind by more than a few frames is forgotten, and counted.

const FRAME_MS = 1000 / 60;
const MOST_BEHIND = 6;
const MOST_AT_ONCE = 3;

export class Clock {
  /** speed: 1 is the game's. */
  constructor(speed = 1) {
    this.speed = speed;
    this.forgotten = 0;
    this.stop();
  }

  get runs() { return this.origin !== null; }

  stop() {
    this.origin = null;
    this.done = 0;
  }

  /** From now on. */
  start(now_ms) {
    this.origin = now_ms;
    this.done = 0;
  }

  setSpeed(speed, now_ms) {
    this.speed = speed;
    if (this.runs) this.start(now_ms);
  }

  /** How many frames are to be made now: 0 to 3. */
  due(now_ms) {
    if (!this.runs) return 0;
    const behind = Math.round(((now_ms - this.origin) / FRAME_MS) * this.speed) - this.done;
    const most = Math.max(MOST_BEHIND, Math.ceil(MOST_BEHIND * this.speed));
    if (behind > most) {
      this.forgotten += behind - 1;
      this.start(now_ms);
      return 1;
    }
    const taken = Math.min(behind, Math.max(MOST_AT_ONCE, Math.ceil(this.speed) + 1));
    if (taken <= 0) return 0;
    this.done += taken;
    return taken;
  }
}
