import java.nio.charset.StandardCharsets;
import java.time.LocalDate;
import java.time.LocalTime;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.formats.json.canal.CanalJsonFormatFactory;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.utils.LogicalTypeParser;
import org.apache.flink.table.types.utils.TypeConversions;
import org.apache.flink.util.Collector;
import org.apache.flink.util.UserCodeClassLoader;

/** Flink's format canal-json as a table source uses it, with its default options. */
final class FlinkReader {
    private final List<String> names = new ArrayList<>();
    private final List<LogicalType> types = new ArrayList<>();
    private final List<RowData.FieldGetter> getters = new ArrayList<>();
    private final DeserializationSchema<RowData> schema;

    /** columns: lists of a name and a type in Flink's SQL. */
    FlinkReader(List<List> columns) throws Exception {
        List<DataTypes.Field> fields = new ArrayList<>();
        for (List<?> column : columns) {
            LogicalType type = LogicalTypeParser.parse((String) column.get(1), getClass().getClassLoader());
            names.add((String) column.get(0));
            types.add(type);
            getters.add(RowData.createFieldGetter(type, getters.size()));
            fields.add(DataTypes.FIELD((String) column.get(0), TypeConversions.fromLogicalToDataType(type)));
        }
        schema = new CanalJsonFormatFactory().createDecodingFormat(null, new Configuration())
                .createRuntimeDecoder(new NoCluster(), DataTypes.ROW(fields));
        schema.open(new Opening());
    }

    /** The rows that the message stands for, each as its kind (+I, -U, +U, -D) and its columns. */
    Object read(String message) throws Exception {
        List<Object> rows = new ArrayList<>();
        schema.deserialize(message.getBytes(StandardCharsets.UTF_8), new Collector<RowData>() {
            @Override
            public void collect(RowData row) {
                Map<String, String> values = new LinkedHashMap<>();
                for (int i = 0; i < names.size(); i++) {
                    values.put(names.get(i), text(types.get(i), getters.get(i).getFieldOrNull(row)));
                }
                rows.add(List.of(row.getRowKind().shortString(), values));
            }

            @Override
            public void close() {}
        });
        return rows;
    }

    private static String text(LogicalType type, Object value) {
        if (value == null) {
            return null;
        }
        switch (type.getTypeRoot()) {
            case DATE:
                return LocalDate.ofEpochDay((Integer) value).toString();
            case TIME_WITHOUT_TIME_ZONE:
                return LocalTime.ofNanoOfDay((Integer) value * 1_000_000L).toString();
            case TIMESTAMP_WITHOUT_TIME_ZONE:
                return ((TimestampData) value).toLocalDateTime().toString();
            case TIMESTAMP_WITH_LOCAL_TIME_ZONE:
                return ((TimestampData) value).toInstant().toString();
            case DECIMAL:
                return ((DecimalData) value).toBigDecimal().toPlainString();
            case BINARY:
            case VARBINARY:
                return HexFormat.of().formatHex((byte[]) value);
            default:
                return value.toString();
        }
    }

    private static final class NoCluster implements DynamicTableSource.Context {
        @Override
        @SuppressWarnings("unchecked")
        public <T> TypeInformation<T> createTypeInformation(DataType type) {
            return (TypeInformation<T>) Types.GENERIC(RowData.class);
        }

        @Override
        @SuppressWarnings("unchecked")
        public <T> TypeInformation<T> createTypeInformation(LogicalType type) {
            return (TypeInformation<T>) Types.GENERIC(RowData.class);
        }

        @Override
        public DynamicTableSource.DataStructureConverter createDataStructureConverter(DataType type) {
            throw new UnsupportedOperationException();
        }
    }

    private static final class Opening implements DeserializationSchema.InitializationContext {
        @Override
        public MetricGroup getMetricGroup() {
            throw new UnsupportedOperationException();
        }

        @Override
        public UserCodeClassLoader getUserCodeClassLoader() {
            throw new UnsupportedOperationException();
        }
    }
}
