import Foundation
import SwiftProtobuf

/// A writer of TensorBoard event files: `events.out.tfevents.SECONDS.HOST`, records of length, CRC, event, CRC.
package final class TensorBoardWriter {
  /// The file.
  let file: LogFile

  /// Creates a new file in a directory.
  ///
  /// - Parameters:
  ///   - directory: The directory that TensorBoard shows as a run.
  ///   - completedSteps: The steps already done. TensorBoard drops later points of the run's older files.
  /// - Throws: ``CheckpointError`` if the file cannot be written.
  package init(directory: String, startingAfter completedSteps: Int) throws {
    let seconds = Int(Date().timeIntervalSince1970)
    let host = ProcessInfo.processInfo.hostName
    var path = "\(directory)/events.out.tfevents.\(seconds).\(host)"
    // Two runs within one second: their names must differ and sort in the order of writing.
    var suffix = 1
    while FileManager.default.fileExists(atPath: path) {
      path = "\(directory)/events.out.tfevents.\(seconds).\(host).\(suffix)"
      suffix += 1
    }
    file = try LogFile(path, .new)
    var version = WrnDist_Event()
    version.fileVersion = "brain.Event:2"
    try write(version, step: 0)
    var start = WrnDist_Event()
    start.sessionLog.status = .start
    try write(start, step: completedSteps + 1)
  }

  /// Writes scalars of one step.
  ///
  /// - Throws: An error of the encoder.
  package func write(_ scalars: [(tag: String, value: Float)], step: Int) throws {
    var event = WrnDist_Event()
    event.summary.value = scalars.map { scalar in
      var value = WrnDist_Summary.Value()
      value.tag = scalar.tag
      value.simpleValue = scalar.value
      return value
    }
    try write(event, step: step)
  }

  /// Writes a text, which TensorBoard renders as Markdown.
  ///
  /// - Throws: An error of the encoder.
  package func write(text: String, tag: String, step: Int) throws {
    var value = WrnDist_Summary.Value()
    value.tag = tag
    value.metadata.pluginData.pluginName = "text"
    value.tensor.dtype = 7  // DT_STRING
    value.tensor.tensorShape.dim = [.with { $0.size = 1 }]
    value.tensor.stringVal = [Data(text.utf8)]
    var event = WrnDist_Event()
    event.summary.value = [value]
    try write(event, step: step)
  }

  private func write(_ event: WrnDist_Event, step: Int) throws {
    var event = event
    event.wallTime = Date().timeIntervalSince1970
    event.step = Int64(step)
    let payload: [UInt8] = try event.serializedBytes()
    let length = withUnsafeBytes(of: UInt64(payload.count).littleEndian) { Array($0) }
    var record = length
    withUnsafeBytes(of: CRC32C.masked(length).littleEndian) { record += $0 }
    record += payload
    withUnsafeBytes(of: CRC32C.masked(payload).littleEndian) { record += $0 }
    record.withUnsafeBytes { file.append($0) }
  }
}

/// The Castagnoli cyclic redundancy check CRC-32C (RFC 3720, B.4) of TensorBoard's records.
package enum CRC32C {
  private static let table: [UInt32] = (0..<256).map { index in
    (0..<8).reduce(UInt32(index)) { value, _ in
      value & 1 == 1 ? value >> 1 ^ 0x82f6_3b78 : value >> 1
    }
  }

  /// Returns the CRC of bytes; 0xE3069283 for the ASCII digits 1 to 9.
  package static func checksum(_ bytes: some Sequence<UInt8>) -> UInt32 {
    ~bytes.reduce(~0) { table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] ^ $0 >> 8 }
  }

  /// Returns the CRC masked as in TensorFlow's records, whose data may contain CRCs itself.
  package static func masked(_ bytes: some Sequence<UInt8>) -> UInt32 {
    let crc = checksum(bytes)
    return (crc >> 15 | crc << 17) &+ 0xa282_ead8
  }
}
