import Foundation
import KernelDiagnostics
import Models

/// The kernels of this machine: which are chosen, and whether they compute what they should.
struct KernelReport {
  /// A line an instruction set.
  let lines: [String]

  /// Checks the portable engine and the kernels of every instruction set that this CPU can run.
  ///
  /// - Throws: `KernelDisagreement` if one computes wrongly; `StartupFailure` if a test's fault is not allowed.
  init() throws {
    let isSpoiled = try TestSwitch.wrongKernel.isOn(ProcessInfo.processInfo.environment)
    let check = KernelSelfCheck()
    var lines: [String] = []
    var first: (name: String, findings: KernelSelfCheck.Findings)?
    for instructionSet in InstructionSet.allCases.filter(\.isSupported) {
      let kernels = instructionSet.kernels
      let engine = NativeConvolutionEngine(
        instructionSet, kernels: isSpoiled ? kernels.withOneWrongNumber() : kernels)
      let findings = try check(engine)
      lines.append(Self.line(engine, findings))
      if let first {
        try KernelSelfCheck.requireEqualBits(first, (instructionSet.rawValue, findings))
        lines[lines.count - 1] += ", the bits of \(first.name)"
      } else {
        first = (instructionSet.rawValue, findings)
      }
    }
    let portable = BLASConvolutionEngine()
    lines.append(Self.line(portable, try check(portable)))
    self.lines = lines
  }

  private static func line(
    _ engine: any ConvolutionEngine, _ findings: KernelSelfCheck.Findings
  ) -> String {
    "\(engine.name) (\(engine.instructions)): all \(findings.comparisonCount) results right, largest relative error "
      + "\(String(format: "%.1e", findings.largestError)) (\(findings.place))"
  }

  /// Which instruction set the native kernels would use, and why.
  static var choice: String {
    let all = InstructionSet.allCases.map(\.rawValue).joined(separator: ", ")
    let usable = InstructionSet.allCases.filter(\.isSupported).map(\.rawValue)
    let asked = ProcessInfo.processInfo.environment["WRN_ISA"] ?? ""
    if !asked.isEmpty {
      return "\(asked), because WRN_ISA asks for it; this CPU can run \(usable.joined(separator: ", "))"
    }
    guard let widest = usable.first else {
      return "none: kernels are built for \(all), and CPUID says that this CPU can run neither"
    }
    return "\(widest), the widest that CPUID says this CPU can run; kernels are built for \(all)"
  }
}
