import Foundation

extension SyntheticCIFAR10 {
  /// Writes the set as the files of the official layout: five training files, one test file, the class names.
  ///
  /// The folder appears complete or not at all.
  ///
  /// - Parameters:
  ///   - directory: A folder that does not exist yet or is empty.
  ///   - seed: Decides every byte.
  /// - Throws: ``DatasetError`` if the folder holds something already or cannot be written.
  public static func write(to directory: String, seed: UInt64 = 0) throws {
    let manager = FileManager.default
    if let held = try? manager.contentsOfDirectory(atPath: directory), !held.isEmpty {
      throw DatasetError(
        "\(directory) is not empty; give a folder that does not exist yet.", kind: .cannotCreate)
    }
    let temporary = directory + ".tmp-\(ProcessInfo.processInfo.processIdentifier)"
    do {
      try manager.createDirectory(atPath: temporary, withIntermediateDirectories: true)
      let training = SyntheticCIFAR10(seed: seed, split: "training", count: trainingCount)
      let perFile = trainingCount / 5
      for f in 0..<5 {
        try training.records(f * perFile..<(f + 1) * perFile).write(
          to: URL(fileURLWithPath: "\(temporary)/data_batch_\(f + 1).bin"))
      }
      let test = SyntheticCIFAR10(seed: seed, split: "test", count: testCount)
      try test.records(0..<testCount).write(
        to: URL(fileURLWithPath: "\(temporary)/test_batch.bin"))
      try Data((classNames.joined(separator: "\n") + "\n").utf8).write(
        to: URL(fileURLWithPath: "\(temporary)/batches.meta.txt"))
      if manager.fileExists(atPath: directory) { try manager.removeItem(atPath: directory) }
      try manager.moveItem(atPath: temporary, toPath: directory)
    } catch {
      try? manager.removeItem(atPath: temporary)
      throw DatasetError(
        "\(directory) cannot be written; is the disk full or the folder protected?",
        kind: .cannotCreate)
    }
  }

  private func records(_ range: Range<Int>) -> Data {
    var data = Data(count: range.count * CIFAR10.recordByteCount)
    data.withUnsafeMutableBytes { bytes in
      for (i, index) in range.enumerated() {
        let start = i * CIFAR10.recordByteCount
        draw(
          index,
          into: UnsafeMutableRawBufferPointer(
            rebasing: bytes[start..<start + CIFAR10.recordByteCount]))
      }
    }
    return data
  }
}
