import Foundation
import Tensors
import TestSupport
import Testing
import Training

/// Invalid safetensors files: an error with the file's name, never a crash.
@Suite struct HostileSafetensorsTests {
  private let folder: TemporaryDirectory

  init() throws { folder = try TemporaryDirectory() }

  private func open(length: UInt64? = nil, header: [UInt8], data: Int = 0) throws -> SafetensorsFile {
    let path = folder.url.appendingPathComponent(UUID().uuidString).path
    var bytes = withUnsafeBytes(of: (length ?? UInt64(header.count)).littleEndian) { Array($0) }
    bytes += header + [UInt8](repeating: 0, count: data)
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    do {
      return try SafetensorsFile(path)
    } catch let error as CheckpointError {
      #expect(error.description.hasPrefix(path) && error.exitCode == 65)
      throw error
    }
  }

  private func entry(_ name: String, _ offsets: String, shape: String = "[1]", type: String = "\"F32\"") -> String {
    "\"\(name)\":{\"dtype\":\(type),\"shape\":\(shape),\"data_offsets\":\(offsets)}"
  }

  @Test func aWholeFileIsRead() throws {
    let header =
      "{\"__metadata__\":{\"a\":\"b\"},\(entry("b", "[4,12]", shape: "[1,2]")),\(entry("a\\u00e9", "[0,4]"))}  "
    let file = try open(header: Array(header.utf8), data: 12)
    #expect(file.entries.map(\.name) == ["aé", "b"])
    #expect(file["b"]?.shape == Shape(1, 2) && file["b"]?.type == "F32" && file["c"] == nil)
  }

  @Test func everyDefectIsNamed() throws {
    let good = entry("a", "[0,4]")
    let cases: [(String, String)] = [
      ("", "ends too early"), ("[]", "not a JSON object"), ("{", "ends too early"), ("{} x", "bytes follow"),
      ("{\(good),\(good)}", "occurs twice"),
      ("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", "occurs twice"),
      ("{\(entry("a", "[0,4]", type: "\"F33\""))}", "no dtype"), ("{\(entry("a", "[0,4]", type: "4"))}", "no dtype"),
      ("{\(entry("a", "[0,4]", shape: "[-1]"))}", "no valid shape"),
      ("{\(entry("a", "[0,4]", shape: "[1.0]"))}", "not an integer"),
      ("{\(entry("a", "[0,4]", shape: "[9223372036854775807,9]"))}", "overflows"),
      ("{\(entry("a", "[0,4]", shape: "[99999999999999999999]"))}", "not an integer"),
      ("{\(entry("a", "[0,4]", shape: "[2]"))}", "4 bytes where its shape needs 8"),
      ("{\(entry("a", "[-4,0]"))}", "no valid data_offsets"), ("{\(entry("a", "[4,0]"))}", "no valid data_offsets"),
      ("{\(entry("a", "[0]"))}", "no valid data_offsets"), ("{\(entry("a", "[0,4,8]"))}", "no valid data_offsets"),
      ("{\(entry("a", "[0,4]")),\(entry("b", "[0,4]"))}", "overlaps"), ("{\(entry("a", "[4,8]"))}", "leaves a gap"),
      ("{\(entry("a", "[0,8]", shape: "[2]"))}", "need 8 bytes but only 4 follow"),
      ("{}", "4 bytes follow the last tensor"),
      ("{\"a\":1}", "is not described by an object"), ("{\"a\\ud800\":1}", "half a surrogate pair"),
      (String(repeating: "[", count: 5000), "nested too deeply"),
    ]
    for (header, words) in cases {
      let error = #expect(throws: CheckpointError.self, "\(header)") {
        try open(header: Array(header.utf8), data: 4)
      }
      #expect(error?.description.contains(words) == true, "\(header): \(error?.description ?? "")")
    }
    #expect(throws: CheckpointError.self) { try open(header: Array("{\"".utf8) + [0xff, 0xfe] + Array("\":1}".utf8)) }
  }

  @Test(arguments: [UInt64.max, 1 << 63, 100_000_001, 5000])
  func headersLongerThanTheFile(length: UInt64) {
    #expect(throws: CheckpointError.self) { try open(length: length, header: Array("{}".utf8)) }
  }

  @Test func filesThatAreHardlyThere() throws {
    for count in 0..<8 {
      let path = folder.url.appendingPathComponent("short-\(count)").path
      try Data(count: count).write(to: URL(fileURLWithPath: path))
      #expect(throws: CheckpointError.self) { try SafetensorsFile(path) }
    }
    #expect(throws: CheckpointError.self) { try SafetensorsFile(folder.path) }
    #expect(throws: CheckpointError.self) { try SafetensorsFile("/dev/null") }
  }

  /// Thousands of damaged headers, always the same ones: each is read or refused.
  @Test func mutationsNeverTrap() throws {
    let whole = Array(
      "{\"__metadata__\":{\"format\":\"pt\"},\(entry("a", "[0,4]")),\(entry("b", "[4,12]", shape: "[2,1]"))}".utf8)
    let stream = RandomStream(seed: 1, purpose: "mutations")
    let alphabet = Array("{}[]\",:\\0123456789-+.eEnul \u{0}\u{7f}".utf8) + [0x80, 0xc3, 0xff]
    var (accepted, refused) = (0, 0)
    for round in 0..<UInt64(3000) {
      var header = whole
      for edit in 0..<UInt64(1 + stream.integer(round * 64, below: 4)) {
        func draw(_ i: UInt64, _ bound: Int) -> Int { stream.integer(round * 64 + 1 + edit * 4 + i, below: bound) }
        let position = draw(0, header.count)
        switch draw(1, 3) {
        case 0: header[position] = alphabet[draw(2, alphabet.count)]
        case 1: header.remove(at: position)
        default: header.insert(alphabet[draw(2, alphabet.count)], at: position)
        }
      }
      do {
        _ = try open(header: header, data: 12)
        accepted += 1
      } catch is CheckpointError {
        refused += 1
      }
    }
    #expect(accepted > 0 && refused > 1000)
  }
}
