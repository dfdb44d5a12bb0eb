"""A real sound device: the monitor of a PulseAudio null sink, played into, unplugged by ending its server, and back."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
import soundfile
from appliance_small_room import RATE, steady, written_run

MISSING = [name for name in ("pulseaudio", "paplay") if shutil.which(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(MISSING),
        reason="apt-get install pulseaudio pulseaudio-utils libasound2-plugins libportaudio2",
    ),
]


class Server:
    """A sound server of its own, in a folder."""

    def __init__(self, folder):
        folder.mkdir(mode=0o700)
        (folder / ".asoundrc").write_text(
            "pcm.!default pulse\nctl.!default pulse\npcm.pulse { type pulse }\n"
        )
        socket = folder / "socket"
        self.environment = os.environ | {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_SERVER": f"unix:{socket}",
        }
        self.socket = socket
        self.start()

    def start(self):
        protocol = f"module-native-protocol-unix auth-anonymous=1 socket={self.socket}"
        words = ["--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "-n"]
        words += [f"--load={protocol}", "--load=module-null-sink sink_name=room"]
        environment = {name: value for name, value in self.environment.items() if name != "PULSE_SERVER"}
        self.process = subprocess.Popen(["pulseaudio", *words], env=environment, stderr=subprocess.DEVNULL)
        wait_for(self.socket.exists)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)

    def play(self, path):
        return subprocess.Popen(["paplay", "--device=room", str(path)], env=self.environment)


def wait_for(condition, seconds=60.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.1)


def test_a_device_is_heard_unplugged_and_heard_again(tmp_path):
    pytest.importorskip("sounddevice", exc_type=ImportError)
    written_run(tmp_path / "runs")
    song = tmp_path / "ac.wav"
    soundfile.write(song, steady(True, False, 120.0, 4), RATE, subtype="PCM_24")
    server = Server(tmp_path / "pulse")
    players = [server.play(song)]
    command = [sys.executable, "-m", "earmark", "-C", str(tmp_path), "live", "appliance", "--duration", "110"]
    live = subprocess.Popen(
        [*command, "--hop-sec", "0.5", "--agg-window-n", "3"],
        env=server.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(map(json.loads, live.stdout)))
    reader.start()
    try:
        wait_for(lambda: lines and lines[-1]["stable_status"] == "ac-on", 40)
        server.stop()
        wait_for(lambda: lines[-1]["health"] == "disconnected", 15)
        server.start()
        players.append(server.play(song))
        heard = len(lines)
        wait_for(lambda: any(one["health"] == "ok" for one in lines[heard:]), 45)
        assert {one["stable_status"] for one in lines[heard:]} == {"ac-on"}
        live.send_signal(signal.SIGINT)
        assert live.wait(30) == 0, live.stderr.read()
    finally:
        for process in (live, *players):
            process.kill()
            process.wait()
        server.stop()
        reader.join()
        live.stdout.close()
        live.stderr.close()
