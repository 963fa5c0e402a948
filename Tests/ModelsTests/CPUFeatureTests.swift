import Models
import Testing

#if arch(x86_64)
  /// Which feature bits a CPU must have before kernels compiled for x86-64-v3 or x86-64-v4 run on it.
  @Suite struct CPUFeatureTests {
    /// A feature of the x86-64 psABI's levels, with the register and the bit that report it.
    struct Feature: CustomTestStringConvertible, Sendable {
      let testDescription: String
      let remove: @Sendable (inout CPUFeatures) -> Void

      init(_ name: String, leaf1 bit: Int) {
        testDescription = name
        remove = { $0.leaf1ECX &= ~(1 << bit) }
      }
      init(_ name: String, leaf7 bit: Int) {
        testDescription = name
        remove = { $0.leaf7EBX &= ~(1 << bit) }
      }
      init(_ name: String, extendedLeaf1 bit: Int) {
        testDescription = name
        remove = { $0.extendedLeaf1ECX &= ~(1 << bit) }
      }
      init(_ name: String, xcr0 bit: Int) {
        testDescription = name
        remove = { $0.xcr0 &= ~(1 << bit) }
      }
    }

    static let v3 = [
      Feature("SSE3", leaf1: 0), Feature("SSSE3", leaf1: 9), Feature("FMA", leaf1: 12),
      Feature("CMPXCHG16B", leaf1: 13), Feature("SSE4.1", leaf1: 19), Feature("SSE4.2", leaf1: 20),
      Feature("MOVBE", leaf1: 22), Feature("POPCNT", leaf1: 23), Feature("OSXSAVE", leaf1: 27),
      Feature("AVX", leaf1: 28), Feature("F16C", leaf1: 29), Feature("BMI1", leaf7: 3), Feature("AVX2", leaf7: 5),
      Feature("BMI2", leaf7: 8), Feature("LAHF", extendedLeaf1: 0), Feature("LZCNT", extendedLeaf1: 5),
      Feature("XMM state", xcr0: 1), Feature("YMM state", xcr0: 2),
    ]
    static let v4 = [
      Feature("AVX512F", leaf7: 16), Feature("AVX512DQ", leaf7: 17), Feature("AVX512CD", leaf7: 28),
      Feature("AVX512BW", leaf7: 30), Feature("AVX512VL", leaf7: 31), Feature("opmask state", xcr0: 5),
      Feature("upper ZMM state", xcr0: 6), Feature("ZMM16 state", xcr0: 7),
    ]

    private static let everything = CPUFeatures(
      leaf1ECX: .max, leaf7EBX: .max, extendedLeaf1ECX: .max, xcr0: .max)

    @Test(arguments: v3)
    func bothSetsNeed(feature: Feature) {
      var features = Self.everything
      feature.remove(&features)
      #expect(!InstructionSet.avx2.isSupported(by: features))
      #expect(!InstructionSet.avx512.isSupported(by: features))
    }

    @Test(arguments: v4)
    func avx512AloneNeeds(feature: Feature) {
      var features = Self.everything
      feature.remove(&features)
      #expect(InstructionSet.avx2.isSupported(by: features))
      #expect(!InstructionSet.avx512.isSupported(by: features))
    }

    @Test func nothingElseIsNeeded() {
      #expect(InstructionSet.avx2.isSupported(by: .x86V3) && InstructionSet.avx512.isSupported(by: .x86V4))
      let bits = { (f: CPUFeatures) in
        f.leaf1ECX.nonzeroBitCount + f.leaf7EBX.nonzeroBitCount + f.extendedLeaf1ECX.nonzeroBitCount
          + f.xcr0.nonzeroBitCount
      }
      #expect(bits(.x86V3) == Self.v3.count && bits(.x86V4) == Self.v3.count + Self.v4.count)
    }

    @Test func thisCPUIsAskedOnce() {
      #expect(InstructionSet.avx2.isSupported == CPUFeatures.current.contains(.x86V3))
      #expect(InstructionSet.avx512.isSupported == CPUFeatures.current.contains(.x86V4))
    }
  }
#endif
