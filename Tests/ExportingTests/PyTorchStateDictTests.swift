import Exporting
import Foundation
import Models
import Tensors
import TestSupport
import Testing
import Training

/// The state_dict as Python's own modules `zipfile` and `pickle` read it; Examples/pytorch checks it with PyTorch.
@Suite struct PyTorchStateDictTests {
  private static let python = try? BuiltProducts.installed("python3")

  /// Loads the archive as torch.load does, with stand-ins for torch's three names, and prints it as JSON.
  private static let reader = #"""
    import collections, json, pickle, struct, sys, zipfile

    archive = zipfile.ZipFile(sys.argv[1])
    assert archive.testzip() is None
    assert [i for i in archive.infolist() if i.compress_type != zipfile.ZIP_STORED] == []
    content = open(sys.argv[1], "rb").read()
    for info in archive.infolist():
        name, extra = struct.unpack("<HH", content[info.header_offset + 26:info.header_offset + 30])
        assert (info.header_offset + 30 + name + extra) % 64 == 0, info.filename
    assert archive.read("archive/version") == b"3\n" and archive.read("archive/byteorder") == b"little"

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            known = {
                ("collections", "OrderedDict"): collections.OrderedDict,
                ("torch", "FloatStorage"): "FloatStorage",
                ("torch._utils", "_rebuild_tensor_v2"): lambda *arguments: arguments,
            }
            return known[module, name]

        def persistent_load(self, identifier):
            kind, type, key, device, count = identifier
            assert (kind, type, device) == ("storage", "FloatStorage", "cpu")
            data = archive.read("archive/data/" + key)
            assert len(data) == 4 * count
            return list(struct.unpack(f"<{count}I", data))

    tensors = Unpickler(archive.open("archive/data.pkl")).load()
    assert type(tensors) is collections.OrderedDict
    result = []
    for name, (storage, offset, shape, stride, gradient, hooks) in tensors.items():
        assert offset == 0 and gradient is False and hooks == collections.OrderedDict()
        result.append({"name": name, "shape": shape, "stride": stride, "bits": storage})
    print(json.dumps(result))
    """#

  private struct Entry: Decodable {
    let name: String
    let shape: [Int]
    let stride: [Int]
    let bits: [UInt32]
  }

  @Test(
    .enabled(if: python != nil, "skipped, because there is no python3"),
    arguments: [WideResNetConfiguration.Architecture.trax, .wrn])
  func pythonReadsAllTensors(architecture: WideResNetConfiguration.Architecture) throws {
    let model = ONNXModelTests.model(try WideResNetConfiguration(architecture: architecture, depth: 10, widenFactor: 2))
    let folder = try TemporaryDirectory()
    let bytes = try PyTorchStateDict.bytes(model)
    #expect(try bytes == PyTorchStateDict.bytes(model))
    try Data(bytes).write(to: folder.url.appendingPathComponent("model.pt"))
    let script = try folder.write("read.py", Self.reader)
    let output = try ProcessRun(try #require(Self.python), [script, "\(folder.path)/model.pt"]).run()
    #expect(output.exitCode == 0, "\(output.standardError)")
    let entries = try JSONDecoder().decode([Entry].self, from: Data(output.standardOutput.utf8))
    #expect(entries.map(\.name) == model.modelTensors.map(\.name))
    for (entry, tensor) in zip(entries, model.modelTensors) {
      #expect(entry.shape == tensor.shape.dimensions)
      #expect(entry.stride == entry.shape.indices.map { entry.shape[($0 + 1)...].reduce(1, *) })
      var elements = [Float](repeating: 0, count: tensor.shape.elementCount)
      elements.withUnsafeMutableBufferPointer { if let start = $0.baseAddress { tensor.copy(to: start) } }
      #expect(entry.bits == elements.map(\.bitPattern), "\(entry.name)")
    }
  }

  /// A zip archive counts its records with 16 bits, of which the highest number has another meaning.
  @Test func tooManyTensorsAreRefused() throws {
    let model = ModelState(try WideResNetConfiguration(depth: 10, widenFactor: 1).graph())
    let tensor = try #require(model.modelTensors.first { $0.shape.elementCount == 16 })
    func bytes(count: Int) throws -> [UInt8] {
      try PyTorchStateDict.bytes([FileTensor](repeating: tensor, count: count), network: "WRN-1000-1")
    }
    let largest = try bytes(count: 1 << 15 - 1)
    // The end of the directory: the records of this disk, and all, with the pickle, the byte order and the version.
    let end = largest.count - 22
    #expect(Array(largest[end..<end + 4]) == [0x50, 0x4B, 0x05, 0x06])
    #expect(Array(largest[end + 8..<end + 12]) == [0x02, 0x80, 0x02, 0x80])
    #expect {
      _ = try bytes(count: 1 << 15)
    } throws: {
      "\($0)" == "WRN-1000-1 has 32768 tensors, too many for this file format; use the checkpoint's model.safetensors."
    }
  }

  /// OIHW: the element of filter k, channel c, row r and column s, by our own layout `RSCK`.
  @Test func weightsAreInPyTorchsLayout() throws {
    let model = ONNXModelTests.model(try WideResNetConfiguration(depth: 10, widenFactor: 1))
    let weight = try #require(model.graph.parameterLayout["groups.1.blocks.0.conv1.weight"])
    let tensor = try #require(model.modelTensors.first { $0.name == weight.name })
    #expect(weight.shape == Shape(3, 3, 16, 32) && tensor.shape == Shape(32, 16, 3, 3))
    var elements = [Float](repeating: 0, count: weight.range.count)
    elements.withUnsafeMutableBufferPointer { if let start = $0.baseAddress { tensor.copy(to: start) } }
    for (k, c, r, s) in [(0, 0, 0, 0), (31, 15, 2, 2), (7, 3, 1, 2), (20, 9, 2, 0)] {
      #expect(elements[((k * 16 + c) * 3 + r) * 3 + s] == model.parameters[weight][((r * 3 + s) * 16 + c) * 32 + k])
    }
  }
}
