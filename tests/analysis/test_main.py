"""The command line: what it prints, how it ends, and that its help is quick."""

from __future__ import annotations

import json
import subprocess
import sys

from analysis import __main__ as command


def test_the_command_line(runs, monkeypatch, capsys):
    monkeypatch.setenv("NGF_RUNS", str(runs[0].root))
    short = ["--num-images", "8", "--set", "draws=3"]
    assert command.main([runs[1].id, "fisher_trace", "--json", *short]) == 0
    out = json.loads(capsys.readouterr().out)
    assert out["values"]["num_draws"] == 3
    assert out["values"]["n"] == 8
    assert out["error"] is None
    # The same run, which is not measured again.
    assert command.main([runs[1].id, "fisher_trace", *short]) == 0
    assert f"fisher_trace           {out['values']['fisher_trace']:.6g}" in capsys.readouterr().out
    assert command.main([runs[1].id, "loss_line", "--num-images", "8"]) == 2  # no parent
    assert "needs two models" in capsys.readouterr().err
    assert command.main([runs[1].id, "fisher_trace", "--data", "dirty"]) == 2
    assert "Allowed: clean, triggered_true, triggered_target" in capsys.readouterr().err
    assert command.main([runs[1].id, "sharpness_of_mind"]) == 2
    assert "hessian_spectrum" in capsys.readouterr().err
    assert command.main([runs[1].id]) == 2
    assert command.main(["no-such-run", "fisher_trace"]) == 3
    capsys.readouterr()
    assert command.main(["list"]) == 0
    assert "draws = 20: Random draws for each image" in capsys.readouterr().out


def test_help_imports_no_torch():
    code = (
        "import sys\nfrom analysis.__main__ import main\ntry:\n    main(['--help'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "import analysis.curvature.density, analysis.result\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "RUN[:LANE]" in done.stdout
    assert "loss_line" in done.stdout
