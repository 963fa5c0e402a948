import Foundation
import Models
import TestSupport
import Testing

#if arch(x86_64) && !DEBUG
  /// The object files of the kernels' builds: none of their symbols may serve code that runs on every CPU, and the loop that
  /// measures the FMA peak executes every multiply-add that it counts.
  ///
  /// Unoptimized builds leave generic code unspecialized, so they say nothing about releases.
  @Suite struct KernelBuildTests {
    private static let modules = [InstructionSet.avx2: "Kernels", .avx512: "KernelsAVX512"]

    /// A symbol as nm reports it.
    struct Symbol: Hashable {
      let name: String
      let type: Character

      /// Parses lines of `nm --defined-only --no-sort`; lines without three fields name a file or are empty.
      static func parse(_ lines: [String]) -> [Symbol] {
        lines.compactMap { line in
          let fields = line.split(separator: " ", maxSplits: 2)
          guard fields.count == 3, let type = fields[1].first else { return nil }
          return Symbol(name: String(fields[2]), type: type)
        }
      }

      /// Returns whether the linker may bind another module's reference to this symbol.
      ///
      /// Lower-case types are local to their object file, except `u`, `v` and `w`. Every symbol of its own has the
      /// module's mangled name. All others are copies of shared code, say of the standard library's generic functions, of
      /// which the linker keeps one for the whole program.
      func isShared(outside module: String) -> Bool {
        guard type.isUppercase || "uvw".contains(type) else { return false }
        return !name.contains("\(module.utf8.count)\(module)") && !Self.harmless.contains(name)
      }

      /// Constants with the same value in every object file.
      private static let harmless = ["__swift_reflection_version"]
    }

    private static func objects(of module: String) throws -> [String] {
      let folder = URL(fileURLWithPath: try BuiltProducts.executable("wrn-dist")).deletingLastPathComponent()
        .appendingPathComponent("\(module).build").path
      let names = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".o") }
      return names.sorted().map { "\(folder)/\($0)" }
    }

    private static func lines(_ program: String, _ arguments: [String]) throws -> [String] {
      let output = try ProcessRun(BuiltProducts.installed(program), arguments).run()
      #expect(output.exitCode == 0, "\(output.standardError)")
      return output.lines
    }

    @Test(
      .disabled(if: Sanitizer.isActive, "AddressSanitizer adds a symbol to every module"),
      arguments: InstructionSet.allCases)
    func noSymbolIsSharedWithOtherModules(instructionSet: InstructionSet) throws {
      let module = try #require(Self.modules[instructionSet])
      let symbols = Symbol.parse(
        try Self.lines("nm", ["--defined-only", "--no-sort"] + Self.objects(of: module)))
      #expect(symbols.count { $0.type == "W" } > 10, "the linker sees weak symbols of the module itself")
      #expect(symbols.contains { $0.name.contains("microkernel") && $0.type == "T" })
      #expect(Set(symbols.filter { $0.isShared(outside: module) }) == [])
    }

    @Test func sharedCopiesAreRecognized() {
      let symbols = Symbol.parse([
        "", "Roofline.swift.o:", "0000000000000000 W $sSa9repeating5countSayxGx_SitcfCSf_Tt1g5",
        "0000000000000000 V $sSaySfGMD", "0000000000000000 u _ZN1aE", "0000000000000000 T wrn_dot",
        "0000000000000000 t local", "0000000000000000 W $s13KernelsAVX5127forwardyyF",
        "0000000000000000 T $sSp13KernelsAVX512SfRszlE6vectors6SIMD16VySfGvg",
        "0000000000000000 V __swift_reflection_version", "0000000000000000 V symbolic _____ 7Kernels11KernelBuildO",
      ])
      #expect(symbols.count == 9)
      let names = symbols.filter { $0.isShared(outside: "KernelsAVX512") }.map(\.name)
      #expect(
        names == [
          "$sSa9repeating5countSayxGx_SitcfCSf_Tt1g5", "$sSaySfGMD", "_ZN1aE", "wrn_dot",
          "symbolic _____ 7Kernels11KernelBuildO",
        ])
    }

    /// The FMA loop in the disassembly: from a jump's target to the jump, if multiply-adds are all that it computes.
    private static func multiplyAddLoop(_ instructions: [(address: Int, text: String)]) -> [String] {
      for (i, jump) in instructions.enumerated() where jump.text.hasPrefix("j") {
        let fields = jump.text.split(separator: " ")
        guard fields.count > 1, let target = Int(fields[1], radix: 16), target < jump.address else { continue }
        let body = instructions[..<i].filter { $0.address >= target }.map(\.text)
        let multiplyAdds = body.filter { $0.hasPrefix("vfmadd") }
        if multiplyAdds.count > body.count / 2 { return multiplyAdds }
      }
      return []
    }

    @Test(
      .enabled(if: InstructionSet.allCases.contains(where: \.isSupported), "this CPU runs no native kernels"),
      arguments: InstructionSet.allCases.filter(\.isSupported))
    func thePeakLoopExecutesEveryMultiplyAdd(instructionSet: InstructionSet) throws {
      let module = try #require(Self.modules[instructionSet])
      let object = try #require(try Self.objects(of: module).first { $0.hasSuffix("/Roofline.swift.o") })
      let instructions = try Self.lines("objdump", ["-d", "--no-show-raw-insn", object]).compactMap {
        line -> (address: Int, text: String)? in
        let fields = line.split(separator: "\t", maxSplits: 1)
        guard fields.count == 2, let colon = fields[0].firstIndex(of: ":"),
          let address = Int(fields[0][..<colon].trimmingCharacters(in: .whitespaces), radix: 16)
        else { return nil }
        return (address, String(fields[1]))
      }
      let loop = Self.multiplyAddLoop(instructions)
      let lanes = instructionSet == .avx512 ? 16 : 8
      let perIteration = instructionSet.peakKernels.multiplyAddsPerIteration / lanes
      // The compiler may unroll; chains are told apart by the register that each updates.
      let chains = Set(loop.compactMap { $0.split(separator: ",").last })
      #expect(chains.count == perIteration, "\(chains.sorted())")
      #expect(!loop.isEmpty && loop.count.isMultiple(of: perIteration), "\(loop.count) multiply-adds in the loop")
    }
  }
#endif
