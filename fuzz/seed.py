"""Writes the models of tests/onnx/operators.safetensors to fuzz/corpus/onnx, where the fuzzer starts."""

from pathlib import Path

from safetensors.numpy import load_file

HERE = Path(__file__).parent
corpus = HERE / "corpus/onnx"
corpus.mkdir(parents=True, exist_ok=True)
for name, tensor in load_file(HERE / "../tests/onnx/operators.safetensors").items():
    if name.endswith("/model"):
        (corpus / name.split("/")[0]).write_bytes(tensor.tobytes())
