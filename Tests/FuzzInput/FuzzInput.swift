import Foundation
import FuzzTargets

/// The target of this process: `--target=NAME`, an option that libFuzzer ignores.
private let target: FuzzTarget = {
  let option = "--target="
  let name = CommandLine.arguments.first { $0.hasPrefix(option) }?.dropFirst(option.count) ?? ""
  if let target = FuzzTarget(rawValue: String(name)) { return target }
  let message = "fuzz-input needs --target= with one of \(FuzzTarget.names); see launch/fuzz --help.\n"
  FileHandle.standardError.write(Data(message.utf8))
  exit(64)
}()

/// The function that libFuzzer's `main` calls with every input.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  target.run(UnsafeRawBufferPointer(start: start, count: count))
  return 0
}
