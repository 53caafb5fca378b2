"""Where a model's weights go: options that commands share."""

import pytest

ASK = ("--prompt", "The capital of France is", "--target", "Paris")
FEW = ("--neurons", "0:3,1:7,3:90", "--shifts", "-2:2:1", "--output", "-")


def test_from_files_a_sweep_is_the_same(negkernel, tmp_path):
    status, right, _ = negkernel("sweep", "--model", "demo", *ASK, *FEW)
    assert status == 0
    where = "--device-map", "disk", "--offload", tmp_path / "weights"
    status, found, said = negkernel("sweep", "--model", "demo", *where, *ASK, *FEW, "-v")
    assert status == 0, said
    assert "method delta" in said
    assert found == right


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_quantized_models_are_served(negkernel, kind):
    pytest.importorskip("bitsandbytes")
    where = "--model", "demo", "--quantize", kind, "--memory", "64M"
    status, found, said = negkernel("grad", *where, *ASK, "--output", "-", "-v")
    assert status == 0, said
    assert "method delta" in said
    assert found.count("\n") == 17


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--device-map", "disk"), "--offload DIR"),
        (("--offload", "{tmp}/w"), "--device-map auto or disk"),
        (("--device-map", "auto", "--device", "cpu"), "leave one out"),
        (("--device-map", "auto", "--offload", "{tmp}/file"), "is a file"),
        (("--device-map", "disk", "--offload", "{tmp}/w", "--quantize", "nf4"), "leave one out"),
        (("--device-map", "sideways"), "sideways"),
        (("--quantize", "3bit"), "3bit"),
    ],
)
@pytest.mark.parametrize("command", ["grad", "neg-map"])
def test_places_that_do_not_fit_together(negkernel, tmp_path, command, options, said):
    (tmp_path / "file").write_text("")
    options = [one.format(tmp=tmp_path) for one in options]
    status, _, error = negkernel(command, "--model", "demo", *ASK, *options)
    assert status == 2
    assert error.count("\n") == 1
    assert said in error


def test_a_map_of_every_neuron(negkernel, tmp_path):
    from neurgrad import demo

    folder, output = tmp_path / "map", tmp_path / "map.csv"
    asked = "neg-map", "--model", "demo", *ASK, "--tol", "0.01", "--output", output
    status, _, error = negkernel(*asked, "--folder", folder)
    assert status == 0, error
    engine = demo.load("causal")
    lines = output.read_text().splitlines()
    assert len(lines) == 1 + engine.widths.sum()
    assert "neg" in lines[0]
    assert any(folder.iterdir())
    before = output.read_bytes()
    assert negkernel(*asked, "--folder", folder)[0] == 0  # nothing is left to compute
    assert output.read_bytes() == before
