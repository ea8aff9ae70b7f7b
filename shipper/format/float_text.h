// float4 and float8 as PostgreSQL writes them with extra_float_digits 1: the shortest digits that read back
// as the same number, in fixed notation from 1e-4 up to 1e15 (float4: 1e6), else with an exponent.
#pragma once

namespace walferry {

// At most kMaxFloatText characters; returns the end.
constexpr int kMaxFloatText = 32;
char* write_float4(char* p, float v);
char* write_float8(char* p, double v);

}  // namespace walferry
