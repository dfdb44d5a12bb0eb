// A recording that was chosen, played from the browser's own copy; clicks on its beats over it.
(function () {
  "use strict";

  const TIMER_MS = 25;
  const AHEAD_S = 0.1;
  const SONG_GAIN = 0.6; // leaves the clicks room

  /**
   * Drives an `<audio>`: onTime(seconds) is called for every picture while it plays, and where it is moved.
   * beatsNow() gives the beats that clicks fall on, so that a meter that was chosen is heard at once.
   */
  class Playback {
    constructor(audio, { onTime, onUnplayable, beatsNow }) {
      this.audio = audio;
      this.beatsNow = beatsNow;
      this.clicks = false;
      this.until = 0;
      const tell = () => onTime(audio.currentTime);
      const frame = () => {
        tell();
        if (!audio.paused) requestAnimationFrame(frame);
      };
      audio.addEventListener("play", () => {
        this.until = audio.currentTime;
        requestAnimationFrame(frame);
      });
      audio.addEventListener("seeking", () => {
        this.until = audio.currentTime;
        tell();
      });
      audio.addEventListener("error", () => audio.getAttribute("src") && onUnplayable());
      setInterval(() => this.plan(), TIMER_MS);
    }

    open(file) {
      this.close();
      this.audio.src = URL.createObjectURL(file);
    }

    close() {
      this.clicks = false;
      this.audio.pause();
      if (this.audio.src) URL.revokeObjectURL(this.audio.src);
      this.audio.removeAttribute("src");
    }

    async seek(seconds, plays = true) {
      this.audio.currentTime = Math.max(0, seconds);
      if (plays) await this.audio.play();
    }

    async toggle() {
      if (this.audio.paused) await this.audio.play();
      else this.audio.pause();
    }

    /** Clicks on or off; the song goes through the same context, so that both reach the ear with one delay. */
    async hear(isOn) {
      this.clicks = isOn;
      this.until = this.audio.currentTime;
      if (!this.context) {
        this.context = new AudioContext();
        this.song = new GainNode(this.context);
        this.context.createMediaElementSource(this.audio).connect(this.song).connect(this.context.destination);
      }
      this.song.gain.value = isOn ? SONG_GAIN : 1;
      await this.context.resume();
      if (isOn && this.audio.paused) await this.audio.play();
    }

    plan() {
      if (!this.clicks || this.audio.paused) return;
      const { click } = window.meter.metronome;
      const rate = this.audio.playbackRate;
      const [here, now] = [this.audio.currentTime, this.context.currentTime];
      const until = here + AHEAD_S * rate;
      for (const beat of this.beatsNow()) {
        if (beat.time < this.until || beat.time >= until) continue;
        click(this.context, this.context.destination, now + (beat.time - here) / rate, beat.is_downbeat ? "bar" : "beat");
      }
      this.until = Math.max(this.until, until);
    }
  }

  window.meter.Playback = Playback;
})();
