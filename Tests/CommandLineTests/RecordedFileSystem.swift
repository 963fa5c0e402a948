import Foundation
import TestSupport

/// The file operations of a program, as strace records them, in the order of their start.
struct FileRecording {
  /// One system call that succeeded and changed something below the recorded directory.
  enum Operation {
    case create(path: String, isEmptied: Bool)
    case write(path: String, bytes: [UInt8])
    case synchronize(path: String)
    case rename(from: String, to: String)
    case link(from: String, to: String)
    case remove(path: String)
    case makeDirectory(path: String)
  }

  /// A program that ended with an error, or called what this model does not know.
  struct Failed: Error {
    let message: String
  }

  /// The operations.
  private(set) var operations: [Operation] = []

  /// Whether this machine allows processes to be traced; true without strace, so that a test reports that it is missing.
  static let isAllowed: Bool = {
    guard let strace = try? BuiltProducts.installed("strace") else { return true }
    return (try? ProcessRun(strace, ["-o", "/dev/null", "true"]).run().exitCode) == 0
  }()

  /// Runs a program under strace.
  ///
  /// - Parameters:
  ///   - root: The absolute path of the directory whose operations count; the program must use absolute paths.
  ///   - arguments: The program and its arguments.
  /// - Throws: ``BuiltProducts/Missing`` without strace, ``Failed`` if the program fails or a call is unknown.
  init(root: String, _ arguments: [String]) throws {
    let logs = try TemporaryDirectory()
    let calls =
      "openat,open,creat,write,pwrite64,writev,fsync,fdatasync,sync_file_range,rename,renameat,renameat2,link,linkat,"
      + "unlink,unlinkat,rmdir,mkdir,mkdirat,truncate,ftruncate"
    // One file per thread, so that no call is interrupted by another's.
    let output = try ProcessRun(
      BuiltProducts.installed("strace"),
      ["-ff", "-ttt", "-y", "-xx", "-s", "4000000", "-o", "\(logs.path)/trace", "-e", "trace=\(calls)"] + arguments,
      environment: MPIRun.environment(adding: [:])
    ).run()
    guard output.exitCode == 0 else { throw Failed(message: output.standardError) }
    var timed: [(time: Double, operation: Operation)] = []
    for name in try FileManager.default.contentsOfDirectory(atPath: logs.path) {
      let data = try Data(contentsOf: logs.url.appendingPathComponent(name))
      for line in data.split(separator: UInt8(ascii: "\n")) {
        guard let call = TracedCall(line), let operation = try Self.operation(call, root: root),
          Self.paths(operation).contains(where: { $0.hasPrefix(root) })
        else { continue }
        timed.append((call.time, operation))
      }
    }
    operations = timed.sorted { $0.time < $1.time }.map(\.operation)
  }

  private static func paths(_ operation: Operation) -> [String] {
    switch operation {
    case .create(let path, _), .write(let path, _), .synchronize(let path), .remove(let path), .makeDirectory(let path):
      [path]
    case .rename(let from, let to), .link(let from, let to): [from, to]
    }
  }

  /// Returns what a call changes; `nil` if nothing.
  ///
  /// - Throws: ``Failed`` if the model does not know the call, and it may change something below the root.
  private static func operation(_ call: TracedCall, root: String) throws -> Operation? {
    let words = call.texts
    switch call.name {
    case "openat" where call.flags.contains("O_CREAT"):
      return .create(path: words.last ?? "", isEmptied: call.flags.contains("O_TRUNC"))
    case "openat" where !call.flags.contains("O_TRUNC"): return nil
    case "write":
      guard let path = call.descriptorPath, let bytes = call.bytes else { return nil }
      return .write(path: path, bytes: Array(bytes.prefix(call.result)))
    case "fsync", "fdatasync": return call.descriptorPath.map { .synchronize(path: $0) }
    case "rename", "renameat", "renameat2": return words.count == 2 ? .rename(from: words[0], to: words[1]) : nil
    case "link", "linkat": return words.count == 2 ? .link(from: words[0], to: words[1]) : nil
    case "unlink", "rmdir": return .remove(path: words.last ?? "")
    case "unlinkat":
      // Relative to an open directory.
      let name = words.last ?? ""
      return .remove(path: name.hasPrefix("/") ? name : "\(call.descriptorPath ?? "")/\(name)")
    case "mkdir", "mkdirat": return .makeDirectory(path: words.last ?? "")
    default:
      guard (words + [call.descriptorPath ?? ""]).contains(where: { $0.hasPrefix(root) }) else { return nil }
      let path = call.descriptorPath ?? words.first ?? ""
      throw Failed(message: "the model lacks the call \(call.name), here of \(path); add it to Operation.")
    }
  }
}

/// One line of strace: `TIME NAME(DESCRIPTOR<PATH>, "TEXT", FLAGS) = RESULT`, with texts and paths in hexadecimal.
private struct TracedCall {
  let time: Double
  let name: String
  /// The decoded texts in quotation marks.
  let texts: [String]
  /// The decoded bytes of the first text.
  let bytes: [UInt8]?
  /// The path of the first argument's descriptor.
  let descriptorPath: String?
  /// Everything else.
  let flags: String
  let result: Int

  init?(_ line: Data) {
    let line = [UInt8](line)
    guard let space = line.firstIndex(of: 0x20), let open = line.firstIndex(of: UInt8(ascii: "(")), space < open,
      let time = Double(String(decoding: line[..<space], as: UTF8.self))
    else { return nil }
    self.time = time
    name = String(decoding: line[(space + 1)..<open], as: UTF8.self)
    var quoted: [[UInt8]] = []
    var path: [UInt8]?
    var rest: [UInt8] = []
    var i = open + 1
    while i < line.count {
      let end: UInt8? =
        line[i] == UInt8(ascii: "\"") ? UInt8(ascii: "\"") : line[i] == UInt8(ascii: "<") ? UInt8(ascii: ">") : nil
      guard let end, let close = line[(i + 1)...].firstIndex(of: end) else {
        rest.append(line[i])
        i += 1
        continue
      }
      let decoded = Self.decode(line[(i + 1)..<close])
      if end == UInt8(ascii: "\"") {
        quoted.append(decoded)
      } else if path == nil {
        path = decoded
      }
      i = close + 1
    }
    texts = quoted.map { String(decoding: $0, as: UTF8.self) }
    bytes = quoted.first
    descriptorPath = path.map { String(decoding: $0, as: UTF8.self) }
    flags = String(decoding: rest, as: UTF8.self)
    guard let equals = flags.range(of: ") = ", options: .backwards),
      let result = Int(flags[equals.upperBound...].prefix { $0 == "-" || $0.isNumber }), result >= 0
    else { return nil }
    self.result = result
  }

  /// Decodes `\x2f\x74`.
  private static func decode(_ text: ArraySlice<UInt8>) -> [UInt8] {
    func digit(_ c: UInt8) -> UInt8 { c <= UInt8(ascii: "9") ? c - UInt8(ascii: "0") : c - UInt8(ascii: "a") + 10 }
    let base = text.startIndex
    return (0..<text.count / 4).map { digit(text[base + 4 * $0 + 2]) << 4 | digit(text[base + 4 * $0 + 3]) }
  }
}

/// A file system in memory that knows what would survive a failure of the power.
final class RecordedFileSystem {
  /// A file or directory.
  private final class Node {
    /// A file's bytes now, and when it was last synchronized.
    var (bytes, durableBytes): ([UInt8], [UInt8]) = ([], [])
    /// A directory's entries now, and when it was last synchronized; `nil` for a file.
    var entries: [String: Node]?
    var durableEntries: [String: Node] = [:]

    init(isDirectory: Bool) { entries = isDirectory ? [:] : nil }
  }

  /// What a failure leaves.
  enum Failure: CaseIterable {
    /// The process is killed: everything stays.
    case process
    /// Renames and removals stay, but no bytes that were not synchronized.
    case lostBytes
    /// Nothing stays that was not synchronized: neither bytes nor names.
    case lostBytesAndNames
  }

  private let root: String
  private let top = Node(isDirectory: true)

  /// Creates an empty directory.
  ///
  /// - Parameter root: Its absolute path.
  init(root: String) { self.root = root }

  /// Applies an operation.
  func apply(_ operation: FileRecording.Operation) {
    switch operation {
    case .create(let path, let isEmptied):
      if let node = node(path) {
        if isEmptied { node.bytes = [] }
      } else {
        enter(Node(isDirectory: false), at: path)
      }
    case .write(let path, let bytes): node(path)?.bytes += bytes
    case .synchronize(let path):
      guard let node = node(path) else { return }
      node.durableBytes = node.bytes
      if let entries = node.entries { node.durableEntries = entries }
    case .rename(let from, let to):
      guard let node = node(from) else { return }
      remove(from)
      enter(node, at: to)
    case .link(let from, let to): if let node = node(from) { enter(node, at: to) }
    case .remove(let path): remove(path)
    case .makeDirectory(let path): enter(Node(isDirectory: true), at: path)
    }
  }

  /// The files that a failure would leave, by path below the root.
  func files(after failure: Failure) -> [String: [UInt8]] {
    var result: [String: [UInt8]] = [:]
    func visit(_ node: Node, _ path: String) {
      guard let entries = node.entries else {
        result[path] = failure == .process ? node.bytes : node.durableBytes
        return
      }
      for (name, child) in failure == .lostBytesAndNames ? node.durableEntries : entries {
        visit(child, path.isEmpty ? name : "\(path)/\(name)")
      }
    }
    visit(top, "")
    return result
  }

  private func components(_ path: String) -> [String]? {
    guard path.hasPrefix(root + "/") else { return path == root ? [] : nil }
    return path.dropFirst(root.count + 1).split(separator: "/").map(String.init)
  }

  private func node(_ path: String) -> Node? {
    components(path)?.reduce(top as Node?) { $0?.entries?[$1] }
  }

  private func parent(_ path: String) -> (node: Node, name: String)? {
    guard let names = components(path), let name = names.last else { return nil }
    return names.dropLast().reduce(top as Node?) { $0?.entries?[$1] }.map { ($0, name) }
  }

  private func enter(_ node: Node, at path: String) {
    guard let (directory, name) = parent(path) else { return }
    directory.entries?[name] = node
  }

  private func remove(_ path: String) {
    guard let (directory, name) = parent(path) else { return }
    directory.entries?[name] = nil
  }
}
