import Foundation
import Reports
import Tensors
import Training

extension FuzzTarget {
  /// A model of two tensors, into which files with their names are copied.
  private static let model: [FileTensor] = {
    var layout = ParameterLayout()
    layout.append("a", .bias, Shape(2))
    layout.append("head.weight", .denseWeight, Shape(2, 3))
    let store = ParameterStore(layout)
    return layout.parameters.map { FileTensor($0.name, $0, in: store) }
  }()

  static func readSafetensors(_ bytes: UnsafeRawBufferPointer) {
    guard let file = try? SafetensorsFile(Data(bytes), path: "model.safetensors") else { return }
    var sum: UInt64 = 0
    for entry in file.entries {
      file.withBytes(of: entry) { for byte in $0 { sum &+= UInt64(byte) } }
      precondition(file[entry.name] != nil, "every tensor is found by its name")
    }
    withExtendedLifetime(sum) {}
    _ = try? Checkpoint.configuration(of: file)
    try? TensorMatches(model, in: file, optional: ["a"]).copy()
  }

  /// Reads the state as it is, and with a valid digest, which no fuzzer finds.
  static func readState(_ bytes: UnsafeRawBufferPointer) {
    let data = Data(bytes)
    for contents in [data, CheckpointState.sealed(data)] {
      _ = try? CheckpointState.decode(contents, of: "checkpoints/step-00000005")
      _ = try? CheckpointState.decode(contents, of: "checkpoint")
    }
  }

  static func readSettings(_ bytes: UnsafeRawBufferPointer) {
    guard let text = String(validating: bytes, as: UTF8.self) else { return }
    _ = try? SettingsFile.entries(text) { _, _, _ in }
    guard let settings = SettingsFile.settings(text) else { return }
    // The YAML library writes other texts with escapes that it does not read.
    guard settings.allSatisfy({ isPlain($0.name) && isPlain($0.value) }) else { return }
    guard let written = try? SettingsFile.render(settings), let read = SettingsFile.settings(written) else {
      preconditionFailure("settings can be written and read again")
    }
    precondition(
      read.map(\.name) == settings.map(\.name) && read.map(\.value) == settings.map(\.value),
      "settings are equal after they are written and read again")
  }

  private static func isPlain(_ text: String) -> Bool { text.utf8.allSatisfy { (32..<127).contains($0) } }

  static func readMetrics(_ bytes: UnsafeRawBufferPointer) {
    let data = Data(bytes)
    _ = MetricsFile(data)
    let repaired = MetricLog.Repair(data, keepingStepsThrough: 5, evaluationLineCount: 2)
    let again = MetricLog.Repair(repaired.contents, keepingStepsThrough: 5, evaluationLineCount: 2)
    precondition(
      again.contents == repaired.contents && again.damagedLineCount == 0
        && again.evaluatedStep == repaired.evaluatedStep, "a repaired log needs no repair")
    for line in repaired.contents.split(separator: UInt8(ascii: "\n")) { _ = MetricTable.row(Data(line)) }
  }
}
