import Foundation
import Models
import Tensors
import TestSupport
import Testing
import Training

/// Checkpoints: contents of the files, loading, and damaged ones.
@Suite struct CheckpointTests {
  private let folder: TemporaryDirectory
  private let model: ModelState

  init() throws {
    folder = try TemporaryDirectory()
    model = ModelState(
      TraxWideResNet.graph(try WideResNetConfiguration(depth: 10, widenFactor: 1)), optimizerStates: ["m", "v"])
    for (s, store) in model.stores.enumerated() {
      RandomStream(seed: 1, purpose: "store \(s)").fillNormal(store.elements, standardDeviation: 1)
    }
  }

  private func state(_ step: Int) -> Checkpoint.State {
    Checkpoint.State(
      step: step, streamPosition: step * 64, seed: .max, network: "WRN-10-1", dataFingerprint: "f",
      configuration: ["seed": String(UInt64.max), "batch-size": "64"])
  }

  private func save(_ steps: [Int], keeping: Int = 0, every: Int = 0, average: ModelState? = nil) throws {
    for step in steps {
      try CheckpointDirectory(folder.path).save(
        model, average: average, state: state(step), keeping: .init(newest: keeping, every: every))
    }
  }

  private func empty() -> ModelState { ModelState(model.graph, optimizerStates: ["m", "v"]) }

  private func bits(_ model: ModelState) -> [[UInt32]] { model.stores.map { $0.elements.map(\.bitPattern) } }

  @Test func loadedCheckpointsAreBitwiseIdentical() throws {
    model.parameters.elements[0] = .nan
    model.parameters.elements[1] = -0.0
    model.optimizerStates[1].store.elements[2] = .leastNonzeroMagnitude
    try save([7])
    let checkpoint = try Checkpoint(folder.path + "/step-00000007")
    #expect(checkpoint.state?.step == 7 && checkpoint.state?.streamPosition == 448)
    #expect(checkpoint.state?.seed == .max && checkpoint.state?.configuration["batch-size"] == "64")
    let loaded = empty()
    try checkpoint.load(into: loaded)
    #expect(bits(loaded) == bits(model))
    #expect(try checkpoint.configuration() == WideResNetConfiguration(depth: 10, widenFactor: 1))
  }

  /// Convolution weights are OIHW and dense weights [outputs, inputs] in the file, element by element.
  @Test func filesHavePyTorchsLayout() throws {
    try save([1])
    let path = folder.path + "/step-00000001/model.safetensors"
    let file = try SafetensorsFile(path)
    let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    let header = bytes.withUnsafeBytes { Int(UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self))) }
    #expect(header % 8 == 0)
    var start = 8 + header
    for entry in file.entries {
      let parameter = try #require(
        model.graph.parameterLayout[entry.name] ?? model.graph.statisticsLayout[entry.name])
      let store =
        parameter.kind == .runningMean || parameter.kind == .runningVariance
        ? model.runningStatistics : model.parameters
      let values = store[parameter]
      let e = parameter.shape.dimensions
      for j in 0..<values.count {
        let found = bytes.withUnsafeBytes {
          UInt32(littleEndian: $0.loadUnaligned(fromByteOffset: start + 4 * j, as: UInt32.self))
        }
        var memory = j
        if parameter.kind == .convolutionWeight {
          let (o, i, h, w) = (j / (e[2] * 9), j / 9 % e[2], j / 3 % 3, j % 3)
          memory = ((h * 3 + w) * e[2] + i) * e[3] + o
        } else if parameter.kind == .denseWeight {
          memory = j % e[0] * e[1] + j / e[0]
        }
        #expect(found == values[memory].bitPattern, "\(entry.name)[\(j)]")
      }
      start += 4 * values.count
    }
    #expect(start == bytes.count)
    #expect(file["stem.weight"]?.shape == Shape(16, 3, 3, 3) && file["head.weight"]?.shape == Shape(10, 64))
    let states = try SafetensorsFile(folder.path + "/step-00000001/optimizer.safetensors")
    #expect(states["m.stem.weight"] != nil && states["v.head.bias"] != nil)
  }

  @Test func digestsAreEqualIfAndOnlyIfAllBitsAre() throws {
    try save([1, 2])
    let digests = try [1, 2].map { try Checkpoint(folder.path + "/step-0000000\($0)").digest() }
    #expect(digests[0] == digests[1])
    model.optimizerStates[1].store.elements[5] = -model.optimizerStates[1].store.elements[5]
    try save([3])
    #expect(try Checkpoint(folder.path + "/step-00000003").digest() != digests[0])
  }

  @Test func oldOnesGoAndLeftoversAreNoCheckpoints() throws {
    try FileManager.default.createDirectory(
      atPath: folder.path + "/.step-00000004.tmp", withIntermediateDirectories: true)
    try folder.write(".step-00000004.tmp/model.safetensors", "half")
    #expect(try CheckpointDirectory(folder.path).latest().checkpoint == nil)
    try save([1, 2, 3, 4], keeping: 2)
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    #expect(names == ["latest", "step-00000003", "step-00000004"])
    #expect(folder.read("latest") == "step-00000004\n")
    // The same step again, after a resume from an older one.
    model.parameters.elements[0] = 42
    try save([4], keeping: 2)
    let loaded = empty()
    try Checkpoint(folder.path + "/step-00000004").load(into: loaded)
    #expect(loaded.parameters.elements[0] == 42)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == names)
  }

  @Test func aDamagedOneIsSkipped() throws {
    try save([1, 2])
    try damage("step-00000002/optimizer.safetensors")
    let (found, warnings) = try CheckpointDirectory(folder.path).latest()
    #expect(found?.state?.step == 1)
    #expect(warnings.count == 1 && warnings[0].contains("step-00000002"))
    #expect(folder.read("step-00000002/state.json") != "", "only a training run renames it")
    let (again, sentences) = try CheckpointDirectory(folder.path).latest(settingAside: true)
    #expect(again?.state?.step == 1)
    let sentence = "renamed \(folder.path)/step-00000002 to step-00000002.corrupt"
    #expect(sentences.count == 2 && sentences[1].contains(sentence))
    #expect(folder.read("step-00000002.corrupt/state.json") != "")
    // Another one of the same step.
    try save([2])
    try damage("step-00000002/model.safetensors")
    _ = try CheckpointDirectory(folder.path).latest(settingAside: true)
    #expect(folder.read("step-00000002.corrupt-2/state.json") != "")
    try damage("step-00000001/model.safetensors")
    #expect(throws: CheckpointError.self) { try CheckpointDirectory(folder.path).latest(settingAside: true) }
    #expect(folder.read("step-00000001/state.json") != "", "none is valid, so all keep their names")
  }

  /// Flipped bytes and truncations anywhere in any file of a checkpoint are found, and the one before is used.
  @Test func damageAnywhereIsFound() throws {
    try save([1, 2], average: model)
    for name in ["model.safetensors", "optimizer.safetensors", "average.safetensors", "state.json"] {
      let file = folder.url.appendingPathComponent("step-00000002/\(name)")
      let original = try Data(contentsOf: file)
      let random = RandomStream(seed: 5, purpose: name)
      for draw in 0..<400 {
        var damaged = original
        let position = random.integer(UInt64(draw), below: original.count)
        if draw.isMultiple(of: 2) {
          damaged[position] ^= 1 << UInt8(draw / 2 % 8)
        } else {
          damaged.removeSubrange(position...)
        }
        try damaged.write(to: file)
        let (found, warnings) = try CheckpointDirectory(folder.path).latest()
        #expect(found?.state?.step == 1 && warnings.count == 1, "\(name), byte \(position), draw \(draw)")
      }
      try original.write(to: file)
    }
    #expect(try CheckpointDirectory(folder.path).latest().checkpoint?.state?.step == 2)
  }

  @Test func everyMthIsKept() throws {
    try save(Array(1...9), keeping: 2, every: 3)
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    #expect(names == ["latest"] + [3, 6, 8, 9].map { "step-0000000\($0)" })
    #expect(throws: Never.self) { try Checkpoint(folder.path + "/step-00000003") }
  }

  /// An error at any point leaves a valid checkpoint, and the next one is written as if nothing had happened.
  @Test(arguments: CheckpointDirectory.WritePoint.allCases)
  func anErrorAtAnyPoint(point: CheckpointDirectory.WritePoint) throws {
    struct Fault: Error {}
    try save([1, 2])
    let directory = CheckpointDirectory(folder.path)
    #expect(throws: Fault.self) {
      try directory.save(model, state: state(3), keeping: .init(newest: 2)) { if $0 == point { throw Fault() } }
    }
    let found = try directory.latest()
    #expect([2, 3].contains(found.checkpoint?.state?.step) && found.warnings.isEmpty)
    try save([4], keeping: 2)
    #expect(try directory.latest().checkpoint?.state?.step == 4)
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
    #expect(names.filter { $0.hasPrefix(".") }.isEmpty, "no leftovers: \(names)")
  }

  @Test func numbersThatAreNotFiniteAreFound() {
    #expect(model.firstNonfiniteTensor() == nil)
    for (value, s) in [(Float.nan, 0), (.infinity, 1), (-.infinity, 2), (.nan, 3)] {
      let store = model.stores[s]
      let last = store.elements.count - 1
      let saved = store.elements[last]
      store.elements[last] = value
      let name = store.layout.parameters.last?.name ?? ""
      #expect(model.firstNonfiniteTensor() == ["", "", "m.", "v."][s] + name)
      store.elements[last] = saved
    }
    model.parameters.elements[0] = .greatestFiniteMagnitude
    #expect(model.firstNonfiniteTensor() == nil)
  }

  /// A killed run leaves temporary directories, also of steps that no later run saves.
  @Test func leftoversOfAKilledRunAreRemoved() throws {
    try save([1, 2])
    for name in [".step-00000009.tmp", ".step-00000008.removed", ".step-00000002.replaced"] {
      try folder.write("\(name)/model.safetensors", "half")
    }
    // Killed between the two renames that replace a checkpoint.
    try FileManager.default.moveItem(
      atPath: folder.path + "/step-00000001", toPath: folder.path + "/.step-00000001.replaced")
    try folder.write(".step-00000001.tmp/model.safetensors", "half")
    CheckpointDirectory(folder.path).recover()
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    #expect(names == ["latest", "step-00000001", "step-00000002"])
    #expect(try Checkpoint(folder.path + "/step-00000001").state?.step == 1)
  }

  /// Any changed byte of `state.json` is found, also one that JSON ignores.
  @Test func aChangedByteOfTheStateIsFound() throws {
    try save([1])
    let path = folder.path + "/step-00000001"
    let file = URL(fileURLWithPath: path + "/state.json")
    let original = try Data(contentsOf: file)
    for index in original.indices {
      for bit in [UInt8(1), 4, 32] {
        var changed = original
        changed[index] ^= bit
        try changed.write(to: file)
        #expect(throws: CheckpointError.self, "byte \(index), bit \(bit)") { try Checkpoint(path) }
      }
    }
    for count in stride(from: 0, to: original.count, by: 7) {
      try original.prefix(count).write(to: file)
      #expect(throws: CheckpointError.self, "\(count) bytes") { try Checkpoint(path) }
    }
    try original.write(to: file)
    #expect(try Checkpoint(path).state?.step == 1)
  }

  @Test func statesThatContradictThemselvesAreRefused() throws {
    for (change, words) in [
      ({ $0.streamPosition += 1 }, "stream position 65 is not that of step 1"),
      ({ $0.seed = 3 }, "the seeds 3 and 18446744073709551615"),
    ] as [((inout Checkpoint.State) -> Void, String)] {
      var state = state(1)
      change(&state)
      // It is read before it is published.
      let error = #expect(throws: CheckpointError.self) {
        try CheckpointDirectory(folder.path).save(model, state: state, keeping: .init(newest: 0))
      }
      #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }
    try save([2])
    try FileManager.default.moveItem(
      atPath: folder.path + "/step-00000002", toPath: folder.path + "/step-00000001")
    let error = #expect(throws: CheckpointError.self) { try Checkpoint(folder.path + "/step-00000001") }
    #expect(error?.description.contains("it is that of step 2") == true)
  }

  private func damage(_ name: String) throws {
    let file = folder.url.appendingPathComponent(name)
    var bytes = try Data(contentsOf: file)
    bytes[bytes.count / 2] ^= 4
    try bytes.write(to: file)
  }

  @Test func missingFilesAndUnknownVersionsAreRefused() throws {
    try save([1])
    let path = folder.path + "/step-00000001"
    let text = folder.read("step-00000001/state.json")
    for (changed, words) in [
      (text.replacingOccurrences(of: "\"formatVersion\" : 2", with: "\"formatVersion\" : 3"), "format version 3"),
      ("{", "is damaged"),
    ] {
      try folder.write("step-00000001/state.json", changed)
      let error = #expect(throws: CheckpointError.self) { try Checkpoint(path) }
      #expect(error?.description.contains(words) == true)
    }
    try folder.write("step-00000001/state.json", text)
    try FileManager.default.removeItem(atPath: path + "/optimizer.safetensors")
    let error = #expect(throws: CheckpointError.self) { try Checkpoint(path) }
    #expect(error?.description.contains("optimizer.safetensors is missing") == true)
    #expect(throws: CheckpointError.self) { try Checkpoint(folder.path + "/gone") }
  }
}
